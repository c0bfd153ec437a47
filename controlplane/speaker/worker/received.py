"""Path attributes of a received UPDATE: from validated octets to what the node reads.

ExaBGP's attribute objects are not used for them. Its communities are sorted anew for each that is
added, so that one UPDATE of 4 KB took half a second: a CE could stop its VRF's worker with it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from struct import iter_unpack
from typing import Any

from controlplane.speaker.wire import PathAttributes
from controlplane.speaker.worker import as_path
from controlplane.speaker.worker.codes import Code

AS_TRANS = 23456


def read(
    values: Mapping[int, bytes], *, four_octets: bool, external: bool,
    unknown: Iterable[tuple[int, int, bytes]] = (),
) -> PathAttributes:  # fmt: skip
    """Return what the node reads of validated values by code; ValueError for a malformed path."""
    aggregator, path = _reconciled(values, four_octets)
    if fault := as_path.fault(path, external):
        raise ValueError(fault)
    return PathAttributes(
        origin=values.get(Code.ORIGIN, b"\0")[0],
        as_path=path,
        med=_number(values.get(Code.MED)),
        local_pref=_number(values.get(Code.LOCAL_PREF)),
        atomic_aggregate=Code.ATOMIC_AGGREGATE in values,
        aggregator=aggregator,
        communities=tuple(sorted(set(_units(values, Code.COMMUNITY, "HH")))),
        extended=tuple(sorted(n for (n,) in set(_units(values, Code.EXTENDED_COMMUNITY, "Q")))),
        large=tuple(sorted(set(_units(values, Code.LARGE_COMMUNITY, "III")))),
        originator_id=_address(values.get(Code.ORIGINATOR_ID)),
        cluster_list=tuple(socket.inet_ntoa(c) for (c,) in _units(values, Code.CLUSTER_LIST, "4s")),
        unknown=tuple(sorted(unknown, key=lambda each: each[1])),
    )


def _reconciled(
    values: Mapping[int, bytes], four_octets: bool
) -> tuple[str | None, as_path.AsPath]:
    """Return AGGREGATOR and AS_PATH, those of a speaker with two-octet numbers put together from
    two attributes each (RFC 6793 section 4.2.3)."""
    path = as_path.parse(values.get(Code.AS_PATH, b""), four_octets)
    aggregator = values.get(Code.AGGREGATOR)
    old, new = values.get(Code.AS4_PATH), values.get(Code.AS4_AGGREGATOR)
    if aggregator is not None and new is not None:
        if int.from_bytes(aggregator[:-4]) != AS_TRANS:
            # Another speaker has aggregated since: both are of before.
            old = None
        else:
            aggregator = new
    if old is not None:
        path = as_path.merged(path, as_path.parse(old, four_octets=True))
    if aggregator is None:
        return None, path
    return f"{int.from_bytes(aggregator[:-4])}:{socket.inet_ntoa(aggregator[-4:])}", path


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value)


def _address(value: bytes | None) -> str | None:
    return None if value is None else socket.inet_ntoa(value)


def _units(values: Mapping[int, bytes], code: int, layout: str) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of each element of an attribute that is a list."""
    return iter_unpack(f"!{layout}", values.get(code, b""))
