"""The gRPC API: services over a read-only view of the node, identity, roles, limits, audit."""

import os

# gRPC's core writes lines of its own to standard error, as many as a client's malformed frames
# cause; a node logs to the journal only. Read when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
