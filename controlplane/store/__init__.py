"""Durable intent of one node: saved before a call returns, whole or not at all."""

from controlplane.store.embedded import EmbeddedStore, open_store
from controlplane.store.protocol import Store, StoreDamagedError, StoreError

__all__ = ["EmbeddedStore", "Store", "StoreDamagedError", "StoreError", "open_store"]
