"""The parts of the router: sessions, route import, decision process, reload."""
