"""nftables: codec, model, expressions, diff, reader."""
