"""What must outlive the process: kept in one file, durable before a call returns."""

from controlplane.store.database import StoreDamagedError, StoreError
from controlplane.store.embedded import EmbeddedStore, open_store
from controlplane.store.protocol import Store

__all__ = ["EmbeddedStore", "Store", "StoreDamagedError", "StoreError", "open_store"]
