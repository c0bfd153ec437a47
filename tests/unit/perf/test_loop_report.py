"""The event loop's part of the report, and its target."""

from __future__ import annotations

from perf.loop_results import FLOOR, WHAT_IFS, Lag, LoopRun, section
from perf.targets import looped


def run(longest: float) -> LoopRun:
    lag = Lag(what="a port", iterations=100, p50=0.001, p99=0.01, longest=longest)
    return LoopRun(ports=1000, vrfs=1000, routes=100_000, start=12.0, lags=(lag,))


def test_the_page_has_a_line_for_each_change() -> None:
    page = "".join(section(run(0.02)))
    assert "1,000 ports in 1,000 VRFs" in page
    assert "| a port | 100 | 1.0 ms | 10.0 ms | 20.0 ms |" in page
    assert not [*section(None)]


def test_the_budget_is_met_only_if_no_iteration_was_longer() -> None:
    assert [verdict.met for verdict in looped(run(0.02))] == [True]
    assert [verdict.met for verdict in looped(run(0.051))] == [False]
    floor = Lag(what=FLOOR, iterations=1, p50=0.1, p99=0.1, longest=0.1)
    beside = LoopRun(lags=(*run(0.02).lags, floor))
    assert [verdict.met for verdict in looped(beside)] == [True]


def test_what_ifs_stand_beside_their_budget_and_the_floor_of_the_run() -> None:
    def lag(what: str, longest: float) -> Lag:
        return Lag(what=what, iterations=9, p50=0.0, p99=0.0, longest=longest, cpu_longest=0.002)

    text = "".join(section(LoopRun(lags=(lag(FLOOR, 0.004), lag(WHAT_IFS, 0.0194)))))
    assert "the longest iteration took 19.4 ms (budget 50.0 ms)" in text
    assert "one of 4.0 ms in the same run" in text
    assert "budget 50.0 ms)" not in "".join(section(LoopRun(lags=(lag(FLOOR, 0.004),))))
