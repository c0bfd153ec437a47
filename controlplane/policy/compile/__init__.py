"""Compile rules and endpoints into verdict tables."""
