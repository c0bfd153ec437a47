"""A kernel that can do VRF, MPLS and nftables, wherever the lab runs.

``probe`` asks the host's own kernel; ``build`` compiles a User-Mode Linux once from the
distribution's kernel source and caches it; ``guest`` runs commands inside it; ``qemu``
boots an unchanged distribution kernel, for a smoke test; ``choice`` picks one of them.
"""
