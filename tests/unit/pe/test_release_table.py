"""What the route writer keeps for a table goes when the VRF and its routes have gone."""

from __future__ import annotations

from controlplane.model.desired import Desired
from controlplane.model.prefix import parse_prefix
from pe.fib.manager import FibManager
from pe.fib.route_batch import RouteEncoder, RouteWriter
from pe.model.state import Failures
from tests.pe_fakes import FakeNextHops, FakeRoutes

TABLE = 1001


class Writer(FakeRoutes):
    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[int] = []

    def forget(self, table: int) -> None:
        self.forgotten.append(table)


def test_a_table_is_released_once_it_has_no_routes() -> None:
    writer = Writer()
    fib = FibManager(Desired(), FakeNextHops(), writer, Failures(), lambda *_: None)
    fib.routes.load([(TABLE, parse_prefix("10.0.0.0/8"), 7)])
    assert not fib.release_table(TABLE)
    assert writer.forgotten == []
    fib.routes.load([])
    assert fib.release_table(TABLE)
    assert writer.forgotten == [TABLE]


def test_the_writer_drops_the_templates_of_a_table() -> None:
    writer = RouteWriter.__new__(RouteWriter)
    writer._encoders = {TABLE: RouteEncoder(TABLE)}
    writer.forget(TABLE)
    writer.forget(TABLE)  # of a table that never had a route
    assert writer._encoders == {}
