"""Adapters to the kernel: read all, apply, follow. Nothing here decides."""
