"""Bring the kernel to the desired state and follow its events."""
