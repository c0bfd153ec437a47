"""The `pe` command."""
