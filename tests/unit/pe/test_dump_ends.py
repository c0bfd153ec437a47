"""A dump that the kernel broke off, or that changed under it, is not taken for a whole one."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

import pytest

from controlplane.model.prefix import parse_prefix
from pe.fib.next_hop_wire import NextHopWriter
from pe.fib.route_batch import RouteWriter
from pe.netlink import codec as nl
from pe.netlink import foreign, main_routes, rtnl, rules
from pe.netlink.ownership import PROTOCOL, ROUTE_METRIC
from pe.nft.foreign_chains import Ours
from pe.nft.foreign_chains import read as read_chains
from pe.nft.model import TableId
from pe.nft.reader import RulesetReader
from pe.observe import conntrack, zone_flush
from pe.policy.ports import PortReader
from tests.unit.pe.foreign_messages import TABLE, route_body

OURS = route_body("10.1.0.0/16", protocol=PROTOCOL, metric=ROUTE_METRIC, next_hop=5)
FOUND = (TABLE, parse_prefix("10.1.0.0/16"), 5)


class Kernel:
    """Answers a dump with these bodies and an end that carries ``error``; the first so many dumps
    are marked as changed meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bodies: list[memoryview] = []
        self.error = self.interrupted = self.dumps = 0
        self._waiting: list[bytes] = []
        kernel = self

        def opened(sock: nl.NetlinkSocket, *_: object, **__: object) -> None:
            sock.socket, sock.pid, sock._seq = kernel, 1, 0  # type: ignore[assignment]

        monkeypatch.setattr(nl.NetlinkSocket, "__init__", opened)

    def send(self, data: bytes) -> None:
        seq = nl.HEADER.unpack_from(data)[3]
        self.dumps += 1
        flags = 2 | (nl.NLM_F_DUMP_INTR if self.dumps <= self.interrupted else 0)
        head = nl.HEADER.pack
        for body in self.bodies:
            self._waiting.append(head(16 + len(body), nl.RTM_NEWROUTE, flags, seq, 0) + body)
        self._waiting.append(
            head(20, nl.NLMSG_DONE, flags, seq, 0) + struct.pack("=i", -self.error)
        )

    def recv(self, _size: int) -> bytes:
        return self._waiting.pop(0)

    def close(self) -> None:
        pass


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_our_routes_of_a_dump_that_broke_off_are_not_all(kernel: Kernel) -> None:
    """Those that were left out counted as lost, and were written once more."""
    kernel.bodies = [OURS]
    assert RouteWriter().dump(TABLE) == [FOUND, FOUND], "the control: one in each family's answer"
    kernel.error = errno.ENOMEM
    with pytest.raises(OSError, match="memory"):
        RouteWriter().dump(TABLE)


def test_our_routes_are_dumped_again_where_the_kernel_changed_meanwhile(kernel: Kernel) -> None:
    kernel.bodies, kernel.interrupted = [OURS], 1
    assert RouteWriter().dump(TABLE) == [FOUND, FOUND]
    assert kernel.dumps == 4, "both families, twice"
    kernel.dumps, kernel.interrupted = 0, 1000
    RouteWriter().dump(TABLE)
    assert kernel.dumps == 2 * nl.DUMPS, "not for ever"


def test_a_table_that_is_not_there_has_no_routes_of_ours(kernel: Kernel) -> None:
    kernel.error = errno.ENOENT
    assert RouteWriter().dump(TABLE) == []
    with pytest.raises(OSError, match="No such"):
        RouteWriter().dump()


READERS: dict[str, Callable[[], object]] = {
    "our routes": lambda: RouteWriter().dump(),
    "next hops": lambda: NextHopWriter().dump(),
    "foreign routes": lambda: foreign.dump_routes(nl.NetlinkSocket(), TABLE, 10),
    "main routes": lambda: [*main_routes.dump(nl.NetlinkSocket())],
    "rules": lambda: [*rules.dump(nl.NetlinkSocket())],
    "last resorts": lambda: rtnl.last_resorts(nl.NetlinkSocket()),
    "ports": lambda: PortReader().ports(),
    "chains": lambda: read_chains(Ours(frozenset(), 0, frozenset())),
    "counters": lambda: [*RulesetReader().counters(TableId("inet", "t"))],
    "connections": conntrack.count,
    "connections of zones": lambda: zone_flush._find(nl.NetlinkSocket(), {1}),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_each_reader_of_a_dump_raises_what_its_end_reports(
    kernel: Kernel, reader: Callable[[], object]
) -> None:
    reader()
    assert kernel.dumps, "the control"
    kernel.error = errno.ENOMEM
    with pytest.raises(OSError, match="memory"):
        reader()
