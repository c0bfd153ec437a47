"""VPNs: import and export by route target, labels, and next hops through the underlay."""
