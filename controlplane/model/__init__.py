"""Frozen value types that every room shares: one noun, one parser, one printed form."""
