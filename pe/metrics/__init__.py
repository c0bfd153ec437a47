"""The node's figures for Prometheus, on a Unix socket that is there only where it is configured."""
