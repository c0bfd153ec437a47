"""The gRPC API: services over a read-only view of the node, identity, roles, limits, audit."""

import os

# gRPC's core writes lines of its own to standard error, at the will of whoever sends it rubbish;
# the journal is the only voice of a node. Read when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
