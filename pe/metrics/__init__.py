"""Serve the node's metrics for Prometheus on a Unix socket, if one is configured."""
