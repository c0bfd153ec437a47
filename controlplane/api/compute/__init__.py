"""Compute answers that need whole tables in worker processes, beside the node's loop."""
