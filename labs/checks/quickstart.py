"""What the quickstart lab shows, claim by claim."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial

from labs.checks.attack import label_attack
from labs.checks.node import established, sessions_text, show
from labs.checks.reach import PATIENCE, near, ping, said, summary
from labs.checks.wire import stacks_on
from labs.lab import RunningLab
from labs.site import command as site
from labs.topology import Check, Outcome
from labs.waiting import until

SITES = tuple(f"ce-{vpn}-{n}" for vpn in ("red", "blue") for n in (1, 2))
TRANSFER = 20_000_000


def other(site_name: str) -> int:
    """The number of the other site of a VPN."""
    return 3 - int(site_name[-1])


def sessions(lab: RunningLab) -> Iterator[Outcome]:
    """Every configured session is Established."""
    for node in ("pe1", "pe2"):
        ok = until(partial(established, lab, node, 3), PATIENCE, every=1.0)
        yield Outcome(ok, f"{node}: its three sessions are up", sessions_text(lab, node))


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """Each site reaches its own other site, v4 and v6, by ping and by TCP."""
    for name in SITES:
        for address in (f"10.{other(name)}.0.1", f"2001:db8:{other(name)}::1"):
            yield ping_works(lab, name, address)
    for name in ("ce-red-1", "ce-blue-1"):
        for address in ("10.2.0.1", "2001:db8:2::1"):
            done = lab.run(
                name, *site(), "put", address, str(TRANSFER), near(address, 1), check=False
            )
            ok = done.stdout.startswith(f"{TRANSFER} bytes")
            yield Outcome(ok, f"{name} sends {TRANSFER} bytes to {address}", said(done))


def ping_works(lab: RunningLab, name: str, address: str) -> Outcome:
    """Three pings answered, once the routes are there."""
    source = near(address, int(name[-1]))
    until(lambda: ping(lab, name, address, source, count=1).returncode == 0, PATIENCE, every=0.5)
    done = ping(lab, name, address, source)
    return Outcome(
        " 0% packet loss" in done.stdout, f"{name} reaches {address}", summary(done.stdout)
    )


def identity(lab: RunningLab) -> Iterator[Outcome]:
    """The same address is another machine in the other VPN."""
    for vpn in ("red", "blue"):
        for address in ("10.2.0.1", "2001:db8:2::1"):
            done = lab.run(f"ce-{vpn}-1", *site(), "who", address, near(address, 1), check=False)
            want = f"ce-{vpn}-2"
            yield Outcome(done.stdout.strip() == want, f"{address} is {want} for {vpn}", said(done))


def isolation(lab: RunningLab) -> Iterator[Outcome]:
    """No site reaches the other VPN, the core, or a PE's loopback."""
    targets = {
        "p's loopback": "10.255.0.100",
        "pe1's loopback": "10.255.0.1",
        "pe2's loopback": "10.255.0.2",
        "a core link": "10.0.1.1",
        "the far core link": "10.0.2.1",
    }
    for name in ("ce-red-1", "ce-blue-1"):
        for what, address in targets.items():
            yield silent(lab, name, address, f"{name} does not reach {what}")
    open_for_blue = lab.run(
        "ce-blue-1", "ping", "-c1", "-W1", "-I", "10.1.0.1", "10.99.2.1", check=False
    )
    yield Outcome(
        open_for_blue.returncode == 0,
        "blue reaches its own 10.99.2.1",
        summary(open_for_blue.stdout),
    )
    yield silent(lab, "ce-red-1", "10.99.2.1", "red does not reach blue's 10.99.2.1")
    alive = lab.run("pe1", "ping", "-c1", "-W1", "-I", "10.255.0.1", "10.255.0.2", check=False)
    yield Outcome(
        alive.returncode == 0, "the loopbacks do answer inside the core", summary(alive.stdout)
    )


def silent(lab: RunningLab, name: str, address: str, title: str) -> Outcome:
    """A default route sends the pings to the PE; nothing but its own refusal may come back."""
    route = ("ip", "route", "replace", f"{address}/32", "via", f"192.168.{name[-1]}.1")
    lab.run(name, *route)
    try:
        source = f"10.{name[-1]}.0.1"
        done = lab.run(name, "ping", "-c3", "-i0.2", "-W1", "-I", source, address, check=False)
    finally:
        lab.run(name, "ip", "route", "del", f"{address}/32")
    return Outcome(" 0 received" in done.stdout, title, summary(done.stdout))


def labels(lab: RunningLab) -> Iterator[Outcome]:
    """A packet on the core carries the transport label and the VPN label, outer TTL 255."""
    for address in ("10.2.0.1", "2001:db8:2::1"):
        stacks = stacks_on(lab, "p", "pe1", "ce-red-1", address, near(address, 1))
        bound = {entry["label"] for entry in show(lab, "pe2", "labels") if entry["vrf"] == "red"}
        two = [s for s in stacks if len(s) == 2 and s[0][0] == 102 and s[1][0] in bound]
        title = f"a packet to {address} crosses the core under two labels"
        yield Outcome(
            bool(two),
            title,
            f"seen (label, TTL): {stacks[:2]}; pe2's labels of red: {sorted(bound)}",
        )
        ttl = two[0][0][1] if two else None
        yield Outcome(ttl == 255, "its outer TTL is 255 (pipe mode)", f"TTL {ttl}")


def neighbor_tables(lab: RunningLab) -> Iterator[Outcome]:
    """What pe1 shows as received from ce-red-1, and as advertised to it, is what that one has."""
    from labs.peers.frr import query

    peer, ours = "192.168.1.2", "192.168.1.1"
    asked = ("routes", "red", "--neighbor", peer)

    def by_frr(which: str) -> dict[str, str]:
        command = f"show bgp ipv4 unicast neighbors {ours} {which} json"
        found = query(lab, "ce-red-1", command)
        routes = found.get("advertisedRoutes") or found.get("routes") or {}
        return {prefix: _as_path(route) for prefix, route in routes.items()}

    for option, which in (("--advertised", "routes"), ("--received", "advertised-routes")):
        until(lambda w=which: len(by_frr(w)) > 0, PATIENCE, every=0.5)  # type: ignore[misc]
        there = by_frr(which)
        if option == "--received":  # FRR shows what it sends before it puts its own AS in front
            there = {prefix: f"65101 {path}".strip() for prefix, path in there.items()}
        # FRR sends back what it has from here: refused, and of a refused route no path is kept.
        shown = {
            row["prefix"]: there.get(row["prefix"]) if row["refused"] else row["as_path"]
            for row in show(lab, "pe1", *asked, option)
        }
        title = f"pe show routes {option} is what ce-red-1 has"
        yield Outcome(bool(shown) and shown == there, title, f"pe1 {shown}; ce-red-1 {there}")


def _as_path(route: object) -> str:
    one = route[0] if isinstance(route, list) else route
    assert isinstance(one, dict)  # noqa: S101 - FRR's answer
    return str(one["path"])


def withdrawal(lab: RunningLab) -> Iterator[Outcome]:
    """A route withdrawn at a CE leaves the other PE's kernel, and comes back."""
    table = next(v["table"] for v in show(lab, "pe2", "vrfs") if v["name"] == "red")
    query = ("ip", "route", "show", "table", str(table), "10.1.0.0/24")
    before = lab.run("pe2", *query).stdout.strip()
    yield Outcome(bool(before), "pe2's kernel has red's 10.1.0.0/24", before)
    started = time.monotonic()
    _network(lab, "no network")
    gone = until(lambda: not lab.run("pe2", *query).stdout.strip(), PATIENCE, every=0.1)
    took = time.monotonic() - started
    yield Outcome(gone, "withdrawn at ce-red-1, it leaves pe2's kernel", f"after {took:.1f} s")
    _network(lab, "network")
    back = until(lambda: bool(lab.run("pe2", *query).stdout.strip()), PATIENCE, every=0.1)
    yield Outcome(back, "announced again, it is back", lab.run("pe2", *query).stdout.strip())


def _network(lab: RunningLab, verb: str) -> None:
    from labs.peers.frr import vtysh

    lines = (
        "configure terminal",
        "router bgp 65101",
        "address-family ipv4 unicast",
        f"{verb} 10.1.0.0/24",
    )
    vtysh(lab, "ce-red-1", *lines)


def survival(lab: RunningLab) -> Iterator[Outcome]:
    """A PE killed with ``kill -9`` and started again loses no packet of a running ping."""
    flows = {
        (name, address): lab.popen(
            name, "ping", "-i", "0.02", "-w", "30", "-W", "2", "-I", near(address, 1), address
        )
        for name in ("ce-red-1", "ce-blue-1")
        for address in ("10.2.0.1", "2001:db8:2::1")
    }
    time.sleep(1.0)  # the flows run before the blow falls; how long makes no difference
    old = lab.pid("pe1", "pe")
    new = lab.restart("pe1", "pe", signal=9)
    up = until(lambda: _synced(lab), PATIENCE, every=1.0)
    yield Outcome(
        up and new != old, "pe1 was killed and is in sync again", f"process {old} -> {new}"
    )
    for (name, address), flow in flows.items():
        flow.send_signal(2)
        text = flow.communicate(timeout=30)[0]
        counts = re.search(r"(\d+) packets transmitted, (\d+) received", text)
        # The one that was under way when ping was stopped is no loss.
        lost = int(counts[1]) - int(counts[2]) if counts else -1
        yield Outcome(0 <= lost <= 1 and int(counts[2] if counts else 0) > 100,
                      f"{name} to {address} lost nothing meanwhile", summary(text))  # fmt: skip


def _synced(lab: RunningLab) -> bool:
    neighbors = show(lab, "pe1", "neighbors")
    return bool(show(lab, "pe1", "status")["in_sync"]) and all(
        n["state"] == "established" for n in neighbors
    )


CHECKS: tuple[Check, ...] = (
    sessions,
    reach,
    identity,
    isolation,
    labels,
    label_attack,
    neighbor_tables,
    withdrawal,
    survival,
)
