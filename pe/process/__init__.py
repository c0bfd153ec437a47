"""Provide what a process needs of the system: journal, privileges, memory."""
