"""Compute answers from a view of the policy state: pure, run by a compute worker.

Each module takes the replica and an encoded request, and gives the encoded parts of the response.
"""
