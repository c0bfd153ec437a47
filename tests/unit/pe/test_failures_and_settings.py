"""Failures and their retries; the settings of a node."""

from __future__ import annotations

import errno

from controlplane.model.desired import Desired
from pe.devices.port_states import port_states
from pe.devices.settings import settings
from pe.model.guards import NONE, Guard
from pe.model.state import Failures, Link, Structure
from tests.golden.founding import PRESENT, founding

NO = OSError(errno.ENOMEM, "no memory")


def test_a_failure_is_news_once_and_again_with_another_reason() -> None:
    failures = Failures()
    assert failures.failed("route", "x", NO, now=1.0)
    assert not failures.failed("route", "x", NO, now=2.0)
    assert failures.failed("route", "x", OSError(errno.EPERM, "no"), now=3.0)
    (known,) = failures.all()
    assert (known.since, known.tries, known.errno) == (1.0, 3, errno.EPERM)
    assert failures.cleared("route", "x")
    assert not failures.cleared("route", "x")
    assert len(failures) == failures.count("route") == 0


def test_retries_back_off_up_to_ten_seconds_and_run_at_once_on_hurry() -> None:
    failures, delays = Failures(), []
    for _ in range(9):
        failures.failed("port", "p", NO, now=0.0)
        delays.append(failures.next_due(but={"route"}))
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays[-1] == 10.0
    assert failures.waiting("port", "p", now=5.0)
    failures.hurry()
    assert not failures.waiting("port", "p", now=5.0)


def values(desired: Desired, disabled: frozenset[Guard] = NONE) -> dict[str, str]:
    return {path: s.value for path, s in settings(desired, PRESENT, disabled).items()}


def test_labels_are_let_in_on_core_ports_and_on_no_other_device() -> None:
    found = values(founding())
    opened = {path for path, value in found.items() if path.endswith("/input") and value == "1"}
    assert opened == {"mpls/conf/core0/input", "mpls/conf/core1/input"}
    closed = {path for path, value in found.items() if path.endswith("/input") and value == "0"}
    assert {"mpls/conf/lo/input", "mpls/conf/ce-red/input", "mpls/conf/eth9/input"} <= closed


def test_the_settings_of_the_traps() -> None:
    found = values(founding())
    assert found["mpls/ip_ttl_propagate"] == "0"
    assert found["ipv4/raw_l3mdev_accept"] == "0"
    assert found["ipv4/conf/all/rp_filter"] == "0"
    assert found["ipv4/conf/ce-red/arp_ignore"] == "1"
    assert found["ipv6/conf/ce-red/accept_ra"] == "0"
    without = values(founding(), frozenset({Guard.PIPE_MODE, Guard.SOCKETS}))
    assert "mpls/ip_ttl_propagate" not in without
    assert "ipv4/raw_l3mdev_accept" not in without


def test_a_larger_label_table_of_another_program_stays() -> None:
    setting = settings(founding(), PRESENT, NONE)["mpls/platform_labels"]
    assert setting.holds("1048575")
    assert not setting.holds("100")
    assert not setting.holds(None)


def test_a_ce_port_is_up_only_in_its_vrf_and_behind_its_guard() -> None:
    def is_up(master: str, guarded: bool) -> bool:
        link = Link(1, "ce-red", up=True, carrier=True, master=master)
        states = port_states(founding(), Structure(links={"ce-red": link}), lambda _: guarded)
        return {state.name: state.up for state in states}["ce-red"]

    assert is_up("red", guarded=True)
    assert not is_up("", guarded=True)
    assert not is_up("blue", guarded=True)
    assert not is_up("red", guarded=False)
