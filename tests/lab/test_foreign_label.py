"""A label that another program of the machine routes, such as FRR's segment routing: it stays that
program's, and the VRF has another one. One that was ours is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from controlplane.model.events import LabelsTaken
from tests.lab.agents import RouterProcess, founding_world, inside, until
from tests.lab.red_pe import red_pe


@contextmanager
def labelled_pe(*before: str) -> Iterator[RouterProcess]:
    """PE 1 with VRF red, after these commands."""
    with founding_world():
        inside("pe1", "sysctl -qw net.mpls.platform_labels=20000")
        for command in before:
            inside("pe1", command)
        with red_pe(check_seconds=1) as pe:
            yield pe


def route(label: int) -> str:
    return inside("pe1", f"ip -f mpls route show {label}", check=False)


def test_one_that_is_taken_at_start_is_left_alone() -> None:
    with labelled_pe("ip -f mpls route add 16000 dev lo proto 187") as pe:
        assert until(lambda: "dev red" in route(16001)), inside("pe1", "ip -f mpls route")
        assert "dev lo" in route(16000)
        assert pe.call("failures") == ()
        taken = [e for _, e in pe.call("events") if isinstance(e, LabelsTaken)]
        assert [e.taken for e in taken] == [frozenset({16000})]


def test_one_that_is_taken_later_is_not_given_out() -> None:
    with labelled_pe() as pe:
        assert until(lambda: "dev red" in route(16000))
        inside("pe1", "ip -f mpls route add 16001 dev lo proto 187")
        assert until(lambda: any(isinstance(e, LabelsTaken) for _, e in pe.call("events")))
        inside("pe1", "ip -f mpls route del 16001")
        assert until(lambda: any(getattr(e, "freed", ()) == {16001} for _, e in pe.call("events")))


def test_one_that_was_ours_is_taken_back() -> None:
    """Its new route could carry one VPN's packets into another (FAIL-5)."""
    with labelled_pe() as pe:
        assert until(lambda: "dev red" in route(16000))
        inside("pe1", "ip -f mpls route replace 16000 dev lo")
        assert until(lambda: "dev red" in route(16000)), inside("pe1", "ip -f mpls route")
        assert not any(isinstance(e, LabelsTaken) for _, e in pe.call("events"))
