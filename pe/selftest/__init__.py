"""Test the packet filter on a running node: send attack packets through ports made for the test.

The ports are TAP devices whose far end is a file descriptor of the node. There is no other end
that could leak, answer or be forgotten. No privilege beyond CAP_NET_ADMIN is needed (a network
namespace would need CAP_SYS_ADMIN, which a node does not have). When the process dies, by
``kill -9`` too, the kernel removes the ports. VRFs, labels, routes and guards are made as for any
other port: desired by the control plane, rendered by ``pe.filters``, programmed by the data
plane's transactions, and deleted by them once they are no longer desired.
"""
