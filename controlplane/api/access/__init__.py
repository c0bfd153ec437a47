"""Decide who may call what: TLS, roles, limits, audit."""
