"""Every stall of the loop is seen, the short ones as well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pe.metrics.service import exposition
from pe.process.loop_lag import BOUNDS, LagHistogram, timed_loop
from tests.unit.metrics.test_figures import figures


def measured(story: Callable[[], Awaitable[None]]) -> LagHistogram:
    lag = LagHistogram()
    with asyncio.Runner(loop_factory=lambda: timed_loop(lag)) as runner:

        async def whole() -> None:
            await asyncio.sleep(0)
            lag.counts, lag.total = [0] * len(lag.counts), 0.0
            await story()

        runner.run(whole())
    return lag


def above(lag: LagHistogram, seconds: float) -> int:
    """Iterations that took longer than a bound."""
    return sum(lag.counts[BOUNDS.index(seconds) + 1 :])


@pytest.mark.parametrize("stall", [0.006, 0.06])
def test_each_stall_is_counted_at_its_length(stall: float) -> None:
    bound = max(b for b in BOUNDS if b < stall)

    async def story() -> None:
        for _ in range(5):
            time.sleep(stall)  # noqa: ASYNC251 - it is what is measured
            await asyncio.sleep(0)

    lag = measured(story)
    assert above(lag, bound) >= 5
    assert lag.total >= 5 * stall


def test_waiting_is_no_lag() -> None:
    async def story() -> None:
        await asyncio.sleep(0.3)

    lag = measured(story)
    assert lag.total < 0.25
    assert above(lag, 0.25) == 0


def test_it_is_served_as_a_histogram() -> None:
    lag = LagHistogram()
    for seconds in (0.0001, 0.05, 0.051, 99.0):
        lag.observe(seconds)
    text = exposition(figures(loop_lag=lag)).decode()
    (family,) = (f for f in text_string_to_metric_families(text)
                 if f.name == "bulkhead_loop_lag_seconds")  # fmt: skip
    assert family.type == "histogram"
    values = {(s.name.rpartition("_")[2], s.labels.get("le")): s.value for s in family.samples}
    assert values["bucket", "0.05"] == 2
    assert values["bucket", "0.1"] == 3
    assert values["bucket", "+Inf"] == values["count", None] == 4
    assert values["sum", None] == pytest.approx(99.1011)
