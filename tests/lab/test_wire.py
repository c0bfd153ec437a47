"""The lab's own mechanics: namespaces, links, labels, programs, and nothing left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.lab import NETNS, LabError, RunningLab, down, running, up
from labs.topologies.wire import LAB
from labs.topology import End, Lab, Link, Node, Program
from labs.waiting import until


@pytest.fixture(scope="module")
def wire() -> Iterator[RunningLab]:
    with running(LAB) as lab:
        yield lab


def test_its_own_checks_hold(wire: RunningLab) -> None:
    outcomes = list(wire.check())
    assert len(outcomes) == 3
    assert [outcome for outcome in outcomes if not outcome.ok] == []


def test_a_second_one_of_the_same_name_is_refused(wire: RunningLab) -> None:
    with pytest.raises(LabError, match="exist already: a, p, b"):
        up(LAB)
    assert wire.run("a", "ip", "link", "show", "core").returncode == 0


def _sleeper(**more: object) -> Lab:
    program = Program("sleeper", ("sh", "-c", "touch {dir}/here; exec sleep 300"), ready="here")
    return Lab("sleepers", "one program", nodes=(Node("s1", programs=(program,)),))


def test_a_program_is_tracked_restarted_and_stopped_with_the_lab() -> None:
    with running(_sleeper()) as lab:
        first = lab.pid("s1", "sleeper")
        assert first is not None
        second = lab.restart("s1", "sleeper", signal=9)
        assert second != first
        assert not Path(f"/proc/{first}").exists()
        assert lab.pid("s1", "sleeper") == second
    assert until(lambda: not Path(f"/proc/{second}").exists(), 5)
    assert not (NETNS / "s1").exists()
    assert not lab.directory.exists()


def test_a_program_that_dies_at_once_fails_the_lab_with_its_log() -> None:
    dying = Program("dying", ("sh", "-c", "echo out of order; exit 1"), ready="never")
    lab = Lab("broken", "", nodes=(Node("s1", programs=(dying,)),))
    with pytest.raises(LabError, match="s1: dying ended\nout of order"):
        up(lab)
    assert not (NETNS / "s1").exists()


def test_a_setup_command_that_fails_is_named() -> None:
    lab = Lab("broken", "", nodes=(Node("s1", setup=(("ip", "link", "set", "nowhere", "up"),)),))
    with pytest.raises(LabError, match="ip link set nowhere up"):
        up(lab)
    down(lab)


def test_links_have_the_mtu_mac_and_state_they_are_given() -> None:
    ends = (
        End("s1", "east", ("10.9.0.1/24", "2001:db8::1/64"), "02:00:00:00:00:01"),
        End("s2", "west", up=False),
    )
    with running(Lab("cable", "", (Node("s1"), Node("s2")), (Link(*ends, mtu=1400),))) as lab:
        east = lab.run("s1", "ip", "addr", "show", "east").stdout
        assert "mtu 1400" in east
        assert "02:00:00:00:00:01" in east
        assert "inet6 2001:db8::1/64" in east
        assert "tentative" not in east
        assert "state DOWN" in lab.run("s2", "ip", "link", "show", "west").stdout
