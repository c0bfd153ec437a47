"""The probe of a link: what it reports, how long an answer holds, and that no error ends it."""

from __future__ import annotations

import asyncio
import errno
from ipaddress import ip_address

import pytest

from controlplane.model.desired import Adjacency, Node
from controlplane.model.events import AdjacencyChanged, Event
from controlplane.model.prefix import IPAddress
from pe.dataplane.adjacency import AGAIN_SECONDS, TRIES, AdjacencyProber
from tests.faults import virtual_time
from tests.parts import LonePart

PE2, GATEWAY = ip_address("10.255.0.2"), ip_address("10.0.0.2")
LINK = Adjacency(PE2, GATEWAY, "core0")
NODE = Node("pe1", (ip_address("10.255.0.1"),), 24000)

YES, NO, SILENT = True, False, TimeoutError()


class Core:
    """Answers each request with the next of ``answers``, then with the last for ever."""

    def __init__(self, *answers: bool | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Adjacency, IPAddress]] = []
        self.events: list[Event] = []
        self.logged: list[str] = []
        self.part = LonePart()
        self.prober = AdjacencyProber(self.events.extend, self._log, self.part, self._ask)

    async def _ask(self, adjacency: Adjacency, source: IPAddress) -> bool:
        self.asked.append((adjacency, source))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _log(self, level: str, event: str, _fields: dict[str, str | int]) -> None:
        self.logged.append(f"{level} {event}")

    def follow(self, seconds: float, *links: Adjacency) -> list[Event]:
        """Probe for a while; give what was reported."""

        async def story() -> None:
            self.prober.change(NODE, {link: link for link in links or (LINK,)})
            await asyncio.sleep(seconds)
            self.prober.stop()

        virtual_time.run(story())
        return self.events


def test_a_pe_that_answers_is_adjacent_and_asked_again() -> None:
    core = Core(YES)
    assert core.follow(2 * AGAIN_SECONDS + 1) == [AdjacencyChanged(LINK, True)]
    assert core.asked == [(LINK, NODE.loopbacks[0])] * 3
    assert core.logged == ["info pe_adjacent"]


def test_another_router_is_reported_at_once() -> None:
    core = Core(NO)
    assert core.follow(0.5) == [AdjacencyChanged(LINK, False)]
    assert core.logged == ["warning path_without_label"]


def test_silence_means_no_only_after_some_tries() -> None:
    assert Core(*[SILENT] * (TRIES - 1), YES).follow(1) == [AdjacencyChanged(LINK, True)]
    assert Core(SILENT).follow(1) == [AdjacencyChanged(LINK, False)]


def test_a_pe_that_moves_away_is_noticed() -> None:
    events = Core(YES, NO).follow(AGAIN_SECONDS + 1)
    assert events == [AdjacencyChanged(LINK, True), AdjacencyChanged(LINK, False)]


def test_without_the_right_to_send_no_path_counts_and_the_node_goes_on() -> None:
    """As an exception of the data plane it would end the node after ten probes."""
    core = Core(OSError(errno.EROFS, "Read-only file system"))
    assert core.follow(120) == [AdjacencyChanged(LINK, False)]
    assert core.part.failures == []
    assert core.logged == ["warning path_without_label"]


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.ENOBUFS])
def test_a_passing_error_is_tried_again(code: int) -> None:
    assert Core(OSError(code, "injected"), YES).follow(5) == [AdjacencyChanged(LINK, True)]


def test_an_impossible_error_is_counted_and_does_not_end_the_probe() -> None:
    core = Core(KeyError("injected"), YES)
    assert core.follow(5) == [AdjacencyChanged(LINK, True)]
    assert [subject for subject, _ in core.part.failures] == [f"adjacency {LINK}"]


def test_a_probe_that_is_no_longer_wanted_ends() -> None:
    core = Core(YES)

    async def story() -> None:
        core.prober.change(NODE, {LINK: LINK})
        await asyncio.sleep(1)
        core.prober.change(None, {LINK: None})
        await asyncio.sleep(5 * AGAIN_SECONDS)

    virtual_time.run(story())
    assert len(core.asked) == 1
    assert not core.part.tasks


def test_of_two_gateways_on_one_link_none_is_taken_at_its_word() -> None:
    other = replace_gateway(LINK)
    core = Core(YES)
    assert core.follow(1, LINK, other) == [
        AdjacencyChanged(LINK, False), AdjacencyChanged(other, False),
    ]  # fmt: skip
    assert core.asked == []


def replace_gateway(link: Adjacency) -> Adjacency:
    return Adjacency(link.address, ip_address("10.0.0.3"), link.device)
