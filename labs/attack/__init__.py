"""Attackers and their instruments.

Everything here works from one process: a socket stays in the network namespace that it was opened
in, so raw senders, taps and BGP speakers of every node live side by side in the test's own
process, and a packet costs a system call instead of a start of Python.
"""
