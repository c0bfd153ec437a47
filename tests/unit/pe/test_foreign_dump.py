"""A table is read in portions; of routes that are ours one byte is looked at."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import cast

import pytest

from pe.netlink import codec as nl
from pe.netlink import foreign
from pe.netlink.ownership import PROTOCOL
from tests.unit.pe.foreign_messages import TABLE, dump_buffers, route_body

OURS = route_body("10.1.0.0/16", protocol=PROTOCOL, metric=1198, next_hop=5)
KERNELS = route_body("10.2.0.0/16", protocol=2)
OTHERS = [route_body(f"10.66.{n}.0/24") for n in range(5)]
SIX = route_body("2001:db8::/32", metric=1024)


class Socket:
    """Streams these routes by family, or refuses."""

    def __init__(self, four: list[memoryview], six: list[memoryview] | OSError) -> None:
        self._of = {2: four, 10: six}
        self.portions = 0

    def stream(
        self, _kind: int, body: bytes, cut: Callable[[memoryview], nl.Message | None]
    ) -> None:
        answer = self._of[body[0]]
        if isinstance(answer, OSError):
            raise answer
        ends = []
        for buffer in dump_buffers(answer):
            self.portions += 1
            ends.append(cut(buffer) is not None)
        assert ends == [False] * (len(ends) - 1) + [True]


def read(sock: Socket, most: int = 100) -> tuple[list[str], int, bool]:
    routes, more, whole = foreign.dump_routes(cast(nl.NetlinkSocket, sock), TABLE, most)
    return [str(route.key.prefix) for route in routes], more, whole


def test_what_is_ours_and_the_kernels_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def parse(body: memoryview, tables: tuple[int, ...]) -> foreign.ForeignRoute | None:
        parsed.append(body)
        return before(body, tables)

    before = foreign.parse_route
    monkeypatch.setattr(foreign, "parse_route", parse)
    sock = Socket([*[OURS] * 10_000, KERNELS, *OTHERS, *[OURS] * 10_000], [SIX])
    found = read(sock)
    assert found == ([*(f"10.66.{n}.0/24" for n in range(5)), "2001:db8::/32"], 0, True)
    assert len(parsed) == 6, "not one of the 20,000 that are ours"
    assert sock.portions > 30, "others have their turn in between"


def test_those_beyond_the_limit_are_counted() -> None:
    assert read(Socket([OURS, *OTHERS], [SIX]), most=2) == (
        ["10.66.0.0/24", "10.66.1.0/24"],
        4,
        True,
    )


def test_a_family_without_a_table_has_no_routes() -> None:
    missing = OSError(errno.ENOENT, "FIB table does not exist")
    assert read(Socket(OTHERS[:1], missing)) == (["10.66.0.0/24"], 0, True)
    with pytest.raises(OSError, match="memory"):
        read(Socket(OTHERS, OSError(errno.ENOMEM, "no memory")))
