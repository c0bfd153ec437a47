"""A node proves its own guards: packets of an attacker's making against ports of its own.

The ports are TAP devices whose far end is a file descriptor of the node. There is no other end
that could leak, answer or be forgotten; nobody's privileges beyond CAP_NET_ADMIN are needed (a
network namespace would take CAP_SYS_ADMIN, which a node does not have); and when the process
dies, by ``kill -9`` too, the kernel takes the ports away with it. VRFs, labels, routes and
guards come about as for any other port: wanted by the control plane, rendered by ``pe.filters``,
loaded in the agent's transactions, swept by the agent when nobody wants them.
"""
