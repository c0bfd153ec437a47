"""Draw the map of flows: pure functions from the API's message to text."""
