"""Microsegmentation, the acting half: verdict tables -> nftables, nflog and connection tracking.

``manager.PolicyMapManager`` holds what ``pe.executor`` submits. By task:

What the kernel should hold (pure, golden files)
    ``program``: chains and maps for some VRFs, of ``lookup`` and ``logging``; ``reading``: what of
    a packet, or of its connection, is looked up; ``elements`` and
    ``binding_elements``: verdict tables and source bindings as keys and values; ``desired``: all of
    it, and the changes since the last time.
Holding it
    ``manager``: deltas and rebuilds, over the node's ``pe.nft.owner``; ``ports``: which port
    belongs to which VRF; ``verdict_gate``: new VRFs stay closed until there are verdicts.
Seeing
    ``pe.observe.flow_log``: new flows with both verdicts; ``tracking``: established flows, and
    their end.
"""
