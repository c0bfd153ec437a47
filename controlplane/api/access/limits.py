"""How much one caller may ask: calls per second, sizes, streams, time."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MAX_REQUEST_BYTES = 4 << 20
MAX_RESPONSE_BYTES = 4 << 20
MAX_STREAMS_PER_CONNECTION = 32
MAX_RPCS = 256
MAX_RPCS_PER_CALLER = 32
MAX_CONNECTIONS = 128
MAX_CONNECTIONS_PER_PEER = 16
MAX_SECONDS = 120.0
PATIENCE = 1.0
"""So many seconds a call waits for its turn, rather than being refused."""
_IDENTITIES = 4096

CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 600_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
]


@dataclass(slots=True)
class RateLimit:
    """A token bucket per identity: ``rate`` calls per second, ``burst`` at once."""

    rate: float = 50.0
    burst: float = 200.0
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, identity: str) -> bool:
        """Return True if this identity may call now."""
        return self.turn(identity, 0.0) is not None

    def turn(self, identity: str, patience: float = PATIENCE) -> float | None:
        """In how many seconds it is this identity's turn, which is taken with that; None if that
        is too long. The identities longest unheard of are forgotten."""
        now = self.clock()
        tokens, then = self._buckets.pop(identity, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        wait = max(0.0, (1.0 - tokens) / self.rate)
        taken = wait <= patience
        self._buckets[identity] = (tokens - 1.0 if taken else tokens, now)
        if len(self._buckets) > _IDENTITIES:
            self._buckets.popitem(last=False)
        return wait if taken else None


class TooManyRequests(Exception):  # noqa: N818 - a state of things, answered with RESOURCE_EXHAUSTED
    """Too many at the same time."""


@dataclass(slots=True)
class AtOnce:
    """How many things one key has open: at most ``each``, and ``total`` together."""

    each: int
    total: int
    _open: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Count one while the block runs. Raises TooManyRequests."""
        if self._open[key] >= self.each or self._open.total() >= self.total:
            raise TooManyRequests(key)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
