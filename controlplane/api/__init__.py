"""The gRPC API: services over a read-only view of the node, identity, roles, limits, audit."""
