"""Implement the `pe` command."""
