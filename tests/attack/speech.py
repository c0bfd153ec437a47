"""What the tests of BGP have in common: sessions with pe1, routes over them, what became of it."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Sequence

import pytest

from labs.attack import bgp, plan
from labs.attack.inside import run_in
from labs.attack.net import Net
from labs.waiting import until

AS = plan.CE_AS["red"]
REFLECTOR = "10.255.0.100"
SENTINELS = {4: "10.101.255.0/24", 6: "2001:db8:101:ffff::/64"}
SECONDS = 30.0
"""How long a test waits for what has to come; the machine may have much else to do."""

both = pytest.mark.parametrize("version", [4, 6])
FAMILIES = {4: bgp.IPV4, 6: bgp.IPV6}


def version_of(text: str) -> int:
    """4 or 6."""
    return 6 if ":" in text else 4


def to_pe(vpn: str = "red", version: int = 4, **more: object) -> bgp.Session:
    """Return a session of a VPN's first CE with pe1."""
    more.setdefault("families", (FAMILIES[version],))
    greeting = bgp.Greeting(plan.CE_AS[vpn], **more)  # type: ignore[arg-type]
    return bgp.establish(
        f"ce-{vpn}-1", plan.ce(1, version), plan.gateway(1, version), greeting,
        md5=plan.KEYS[vpn], seconds=SECONDS,
    )  # fmt: skip


def connection(vpn: str = "red", version: int = 4, **more: object) -> bgp.Session:
    """Return a connection of a VPN's first CE with pe1, on which nothing has been said."""
    more.setdefault("md5", plan.KEYS[vpn])
    found: list[bgp.Session] = []

    def made() -> bool:
        near, own = plan.gateway(1, version), plan.ce(1, version)
        session = bgp.connect(f"ce-{vpn}-1", own, near, **more)  # type: ignore[arg-type]
        found.extend([session] if session else [])
        return bool(found)

    assert until(made, SECONDS), "no answer"
    return found[0]


def from_core(*families: bgp.Family, **more: object) -> bgp.Session:
    """Return a session of a route reflector with pe1."""
    greeting = bgp.Greeting(
        plan.CORE_AS, router_id=REFLECTOR, families=families or (bgp.VPNV4, bgp.VPNV6),
        **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return bgp.establish(
        "p", REFLECTOR, "10.255.0.1", greeting, md5=plan.KEYS["core"], seconds=SECONDS
    )


def announce(
    *prefixes: str,
    asns: Sequence[int] = (AS,),
    hop: str = "",
    more: bytes = b"",
) -> bytes:
    """Return a CE's UPDATE for prefixes of one family, as the first CE of any VPN would say it."""
    version = version_of(prefixes[0])
    hop = hop or plan.ce(1, version)
    nlri = bgp.prefixes(*prefixes)
    if version == 4:
        return bgp.update(bgp.path(asns[0], hop, more, asns=asns), nlri)
    reach = bgp.mp_reach(bgp.IPV6, ipaddress.ip_address(hop).packed, nlri)
    return bgp.update(bgp.path(asns[0], "", more, reach, asns=asns))


def withdraw(*prefixes: str) -> bytes:
    """And back."""
    nlri = bgp.prefixes(*prefixes)
    if version_of(prefixes[0]) == 4:
        return bgp.update(withdrawn=nlri)
    return bgp.update(bgp.mp_unreach(bgp.IPV6, nlri))


def core_route(prefix: str, *, target: int = 100, label: int = 20001, more: bytes = b"",
               asns: Sequence[int] = ()) -> bytes:  # fmt: skip
    """Return a VPN route of pe2's, as a reflector would advertise it."""
    attributes = bgp.attribute(1, b"\0") + bgp.attribute(2, bgp.as_path(*asns))
    attributes += bgp.attribute(5, struct.pack("!I", 100))
    attributes += bgp.attribute(16, bgp.target(plan.CORE_AS, target)) + more
    version = version_of(prefix)
    hop = bgp.packed_next_hop("10.255.0.2" if version == 4 else "::ffff:10.255.0.2", vpn=True)
    nlri = bgp.vpn_prefix(prefix, (65000, 9), label)
    fam = bgp.VPNV4 if version == 4 else bgp.VPNV6
    return bgp.update(bgp.mp_reach(fam, hop, nlri) + attributes)


def own(count: int, version: int = 4) -> list[str]:
    """So many different prefixes that red's first CE may announce."""
    if version == 6:
        return [f"2001:db8:101:{n:x}::/64" for n in range(1, count + 1)]
    return [f"10.101.{n // 64}.{n % 64 * 4}/30" for n in range(count)]


def has(net: Net, vrf: str, prefix: str) -> bool:
    """Return True if a VRF of pe1 has a route."""
    return any(r.prefix == prefix for r in net.pe1.show_routes(vrf, prefix))


def in_kernel(prefix: str) -> bool:
    """Return True if pe1's kernel has a route for exactly this prefix, in any table."""
    words = ("ip", "-6") if ":" in prefix else ("ip",)
    shown = run_in("pe1", *words, "route", "show", "table", "all", "exact", prefix, check=False)
    return prefix in shown


def learned(net: Net, vrf: str = "red", version: int = 4) -> set[str]:
    """Return the prefixes that pe1 has from a VPN's first CE."""
    neighbor = plan.ce(1, version)
    return {r.prefix for r in net.pe1.show_routes(vrf, all_paths=True, neighbor=neighbor)}


def done(net: Net, session: bgp.Session, vrf: str = "red", version: int = 4) -> None:
    """Wait until all that was sent before is decided: a sentinel prefix comes and goes."""
    prefix = SENTINELS[version]
    session.send(announce(prefix, asns=(plan.CE_AS[vrf],)))
    assert until(lambda: has(net, vrf, prefix), SECONDS), (session.notification, log_tail(net))
    session.send(withdraw(prefix))
    assert until(lambda: not has(net, vrf, prefix), SECONDS), log_tail(net)


def taken(net: Net, session: bgp.Session, *prefixes: str, vrf: str = "red") -> None:
    """The positive control: these are announced, and pe1 has them."""
    session.send(announce(*prefixes, asns=(plan.CE_AS[vrf],)))
    version = version_of(prefixes[0])
    assert until(lambda: set(prefixes) <= learned(net, vrf, version), SECONDS), (
        f"control: {prefixes} not taken: {session.notification} {log_tail(net)}"
    )


def state(net: Net, vrf: str = "red", version: int = 4) -> object:
    """pe1's view of the session with a VPN's first CE."""
    address = plan.ce(1, version)
    return next(n for n in net.pe1.show_neighbors(vrf) if n.address == address)


def log_tail(net: Net, size: int = 1500) -> str:
    """Return the end of pe1's journal, for a failure's message."""
    return net.lab.log("pe1", "pe")[-size:]


def memory(pid: int) -> int:
    """Resident memory of a process, in kB."""
    text = run_in("pe1", "cat", f"/proc/{pid}/status")
    return int(text.partition("VmRSS:")[2].split()[0])


def node_pid(net: Net) -> int:
    """Return the process of pe1's node."""
    pid = net.lab.pid("pe1", "pe")
    assert pid is not None
    return pid


def workers(net: Net) -> dict[str, int]:
    """Return the node's ExaBGP workers by VRF, "" the core's."""
    found = {}
    for line in run_in("pe1", "ps", "-ww", "-eo", "pid,ppid,args").splitlines():
        pid, parent, *words = line.split()
        if parent == str(node_pid(net)) and "controlplane.speaker.worker" in words:
            after = words[words.index("controlplane.speaker.worker") + 1 :]
            found[after[3] if len(after) > 3 else ""] = int(pid)
    return found


def exported(session: bgp.Session, prefix: str) -> dict[int, bytes]:
    """Return the attributes with which a VPN route was advertised last; {} if it was not."""
    network = ipaddress.ip_network(prefix)
    tail = network.network_address.packed[: network.prefixlen // 8]
    for body in reversed(session.bodies(bgp.UPDATE)):
        (gone,) = struct.unpack_from("!H", body)
        found = bgp.attributes_of(body[4 + gone :])
        if any(code == 14 and value.endswith(tail) for code, value in found):
            return dict(found)
    return {}


class Line:
    """A session that is made anew when it has ended: one for many cases."""

    def __init__(self, make: object) -> None:
        self._make = make
        self._session: bgp.Session | None = None

    def session(self) -> bgp.Session:
        """One that is up."""
        if self._session is None or not self._session.alive:
            self.close()
            self._session = self._make()  # type: ignore[operator]
        assert self._session is not None
        return self._session

    def close(self) -> None:
        """End it."""
        if self._session is not None:
            self._session.close()
            self._session = None


@pytest.fixture
def red(net: Net) -> Iterator[bgp.Session]:
    """A session of red's first CE, gone with its routes afterwards."""
    with to_pe() as session:
        yield session
    assert until(lambda: not learned(net), SECONDS), log_tail(net)
