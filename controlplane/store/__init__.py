"""Durable intent of one node: saved before a call returns, whole or not at all."""

from controlplane.store.embedded import EmbeddedStore, open_store
from controlplane.store.protocol import Kept, Store, StoreDamagedError, StoreError

__all__ = ["EmbeddedStore", "Kept", "Store", "StoreDamagedError", "StoreError", "open_store"]
