"""Typed rules as nftables text. Pure; golden files hold whole rulesets."""
