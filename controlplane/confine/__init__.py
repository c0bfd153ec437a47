"""What a worker process takes from itself before it reads untrusted input.

Nothing here can be undone by the process: code that takes it over has no more than is left.
"""
