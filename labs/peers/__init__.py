"""Routing daemons of other projects as programs of a node: FRR, GoBGP, BIRD, ExaBGP."""
