"""Where built kernels are kept between runs."""

import os
from pathlib import Path


def directory() -> Path:
    """Return ``$BULKHEAD_CACHE``, else ``bulkhead`` in the user's cache directory."""
    if named := os.environ.get("BULKHEAD_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "bulkhead"
