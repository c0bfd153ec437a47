"""The bench still works: a thousand routes, and no word about how long they took."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perf import guest
from perf.results import RoutingRun


@pytest.mark.parametrize("receiver", ["FRR", "Bulkhead"])
def test_a_small_bench_installs_moves_and_withdraws_its_routes(
    receiver: str, tmp_path: Path
) -> None:
    options = ["--routes", "1000", "--per-update", "50", "--path-changes", "2"]
    status = guest.main([str(tmp_path), "--receivers", receiver, *options])
    (run,) = msgspec.json.decode((tmp_path / guest.FILE).read_bytes(), type=list[RoutingRun])
    assert (status, run.failure) == (0, "")
    assert run.install > 0
    assert run.withdraw > 0
    assert run.peak_kib > 10_000
    assert [change.sent > change.lost for change in run.path_changes] == [True, True]
