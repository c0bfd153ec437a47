"""The node's state as rows for the API: reads the router and the adapters, changes nothing."""
