"""Render the node's state as rows of the API: read router and adapters, change nothing."""
