"""Bulkhead's gRPC contract for Python: ``bulkhead.v1`` is generated, ``bulkhead.client`` is not."""
