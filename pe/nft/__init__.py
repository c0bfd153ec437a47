"""nftables, for the packet filters and the policy maps alike.

What is to be there (pure)
    ``types``, ``ranges``: bytes of keys and values; ``fields``, ``matches``, ``statements``: the
    language of the filters' rules, which ``compiler`` turns into ``expression``; ``model``: tables
    as values; ``names``.
From what is there to what is wanted (pure)
    ``diff``: operations, of which ``text`` makes readable lines and ``messages`` a batch.
The kernel
    ``socket`` sends batches, ``reader`` reads tables, and ``owner`` has the lock, the generations
    and the tables of each user.
"""
