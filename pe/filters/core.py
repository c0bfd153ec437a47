"""The guard of a core port. The core is trusted (RFC 4381 section 1), but for one thing: explicit
null labels are looked up in the global table as if they came from ``lo`` (T9)."""

from __future__ import annotations

from collections.abc import Iterator

from pe.filters.context import RenderContext
from pe.model.guards import Guard
from pe.nft.text_model import Chain, dropped, name, quoted


def chains(scope: RenderContext) -> Iterator[Chain]:
    """The chains of every core port that is there and does not want explicit null."""
    for port in sorted(scope.desired.core_ports.values(), key=lambda port: port.name):
        if port.name not in scope.present or port.accept_explicit_null:
            continue
        if scope.on(Guard.EXPLICIT_NULL):
            yield from _port(port.name)


def _port(port: str) -> Iterator[Chain]:
    # Two chains: nft 1.0.6 cannot list a rule that compares both the protocol and the label.
    yield Chain(
        f"core_{name(port)}",
        (f"meta protocol 0x8847 goto null_{name(port)}",),
        f"type filter hook ingress device {quoted(port)} priority -500; policy accept;",
    )
    yield Chain(
        f"null_{name(port)}",
        (
            f"@nh,0,20 0 {dropped('lbl_07', port)}",
            f"@nh,0,20 2 {dropped('lbl_07', port)}",
            "accept",
        ),
    )
