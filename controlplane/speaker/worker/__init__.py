"""Runs inside the ExaBGP process.

ExaBGP keeps the sessions: sockets, timers, OPEN, state machine, path attributes. This package
joins it to the node through pipes, and replaces the parts that stand in a PE's way by subclasses
put in their place at start (``__main__.install``). Nothing here is imported by the node.
"""
