"""Devices, addresses, rules and settings: plan, kernel, manager."""
