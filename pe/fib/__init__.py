"""Next hops, routes and the main table."""
