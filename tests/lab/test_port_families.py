"""A port works in one address family while the other fails, and where IPv6 is off by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface

import pytest

from labs.attack.inside import sysctl
from pe.view.ports import port_problems
from tests.lab.agents import (
    AgentProcess,
    ce_name,
    desired,
    founding_world,
    host,
    reaches,
    run,
    until,
    wire,
)

pytestmark = pytest.mark.lab

CE, FAR, PORT = ce_name("pe1", "red"), ce_name("pe2", "red"), "pe1-red"
OFF = "ipv6/conf/default/disable_ipv6"


@contextmanager
def agents() -> Iterator[AgentProcess]:
    """Both PEs of a founding world that stands; yields that of PE 1."""
    both = [AgentProcess(pe, check_seconds=1) for pe in ("pe1", "pe2")]
    try:
        for pe, agent in zip(("pe1", "pe2"), both, strict=True):
            agent.apply(desired(pe))
            agent.call("mark_in_sync")
            agent.call("settled")
        yield both[0]
    finally:
        for agent in both:
            agent.stop()


def works(version: int) -> bool:
    """True if the port forwards a family both ways, and the PE answers on it."""
    ends = ((CE, host("pe2", version)), (FAR, host("pe1", version)))
    return all(reaches(ce, address) for ce, address in ends)


def made_again() -> None:
    run(f"ip -n pe1 link delete {PORT}")
    wire("pe1", PORT, CE, "up0")
    run(f"ip -n {CE} link set up0 up")
    run(f"ip -n {CE} addr add 192.168.1.2/24 dev up0")
    run(f"ip -n {CE} -6 addr add fd00:1::2/64 dev up0 nodad")
    run(f"ip -n {CE} route replace default via 192.168.1.1 src {host('pe1', 4)}")
    run(f"ip -n {CE} -6 route replace default via fd00:1::1 src {host('pe1', 6)}")


def test_a_port_has_both_families_where_new_devices_have_no_ipv6() -> None:
    """It had neither: the address was refused, and all steps of a port failed together."""
    with founding_world():
        sysctl("pe1", OFF, "1")
        with agents() as pe:
            made_again()
            assert sysctl("pe1", OFF) == "1", "it is the host's"
            assert until(lambda: works(4)), pe.call("failures")
            assert until(lambda: works(6)), pe.call("failures")
            assert pe.call("failures") == ()
            # Another program switches IPv6 off, which takes the addresses away.
            sysctl("pe1", f"ipv6/conf/{PORT}/disable_ipv6", "1")
            assert until(lambda: works(6)), pe.call("failures")


def test_an_address_family_that_the_kernel_refuses_leaves_the_other_one_working() -> None:
    """Below an MTU of 1280 octets the kernel has no IPv6 on a device (addrconf_notify)."""
    with founding_world(), agents() as pe:
        assert until(lambda: works(4) and works(6))
        run(f"ip -n pe1 link set {PORT} mtu 1000")
        assert until(lambda: PORT in port_problems(pe.call("failures")))
        words = port_problems(pe.call("failures"))[PORT]
        assert words.startswith("IPv6 address refused: "), words
        assert not works(6), "control: there is no IPv6"
        state = pe.call("ports")[PORT]
        assert (state.up, state.addresses) == (True, ("192.168.1.1/24",))
        assert works(4)
        # Nor does the port, made again, wait for the other family.
        made_again()
        assert until(lambda: works(4) and works(6)), pe.call("failures")
        assert until(lambda: pe.call("failures") == ())


def test_a_port_that_never_had_ipv6_opens_for_ipv4() -> None:
    with founding_world():
        run(f"ip -n pe1 link set {PORT} mtu 1000")
        with agents() as pe:
            assert until(lambda: works(4)), pe.call("failures")
            assert PORT in port_problems(pe.call("failures"))
            run(f"ip -n pe1 link set {PORT} mtu 1500")
            assert until(lambda: works(6)), pe.call("failures")
            assert until(lambda: pe.call("failures") == ())
            here = {ip_interface(a) for a in pe.call("ports")[PORT].addresses}
            assert here == {ip_interface("192.168.1.1/24"), ip_interface("fd00:1::1/64")}
