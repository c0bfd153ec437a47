"""Workloads, remote endpoints and source bindings."""
