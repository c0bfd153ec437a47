"""Microsegmentation, the acting half: verdict tables -> nftables, nflog and connection tracking.

``manager.PolicyMapManager`` holds what ``pe.executor`` submits. By task:

What the kernel should hold (pure, golden files)
    ``expression``: the instructions of nftables' machine; ``program``: chains and maps for some
    VRFs; ``elements``: verdict tables as keys and values; ``transaction``: the messages that lead
    from one state to another.
Holding it
    ``nft_wire``: one batch, all of it or nothing, and what is there; ``keeper``: deltas, rebuilds,
    drift; ``ports``: which port belongs to which VRF.
Seeing
    ``flow_log``: new flows with both verdicts; ``tracking``: established flows, and their end.

Everything goes over netlink rather than through the nft program: a delta takes well under a
millisecond, structure and elements fit one transaction, and a map may be used with any register.
"""
