"""MGMT-1, -2, -9: where the API over TCP is reached from, who gets in, and what is renewed."""

from __future__ import annotations

import datetime as dt
import ssl
import warnings
from collections.abc import Callable, Iterator

import grpc
import pytest

from labs.attack.edit import edited
from labs.attack.inside import run_in, socket_in
from labs.attack.net import Net, circuit
from labs.attack.who import addresses, attackers
from labs.waiting import until
from tests.attack.management import (
    ADMIN,
    BESIDE,
    IN_VRF,
    NOC,
    PORT,
    Management,
    connects,
    managed,
    refused,
    routed,
)
from tests.unit.api.certificates import DAY, SERVER, Authority, Pair, self_signed

UNAVAILABLE, DENIED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def desk(net: Net) -> Iterator[Management]:
    with managed(net) as found:
        yield found


# -- MGMT-1: where it is reached from -----------------------------------------------------------


def test_mgmt_01_it_listens_on_its_device_alone(desk: Management) -> None:
    taken = [line.split()[3] for line in run_in("pe1", "ss", "-Htln").splitlines()]
    ours = [address for address in taken if address.endswith(f":{PORT}")]
    assert ours == [f"{IN_VRF}%mgmt:{PORT}"], taken
    others = [address for address in taken if not address.endswith((f":{PORT}", ":179"))]
    assert others == [], "nothing else listens"
    assert desk.answer(desk.authority.issue("x", ADMIN)) is None, "control: the NOC is served"


def test_mgmt_01_not_from_a_customer_a_remote_site_or_the_core(desk: Management) -> None:
    """Every address that pe1 has, from everybody who is somewhere else than the NOC."""
    places = sorted({a.port.node for a in attackers()} | {"ce-red-2", "ce-blue-2", "p", "pe2"})
    targets = [a for a in addresses("pe1") if not a.startswith(("127.", "::1", "fe80"))]
    assert IN_VRF in targets
    assert len(targets) >= 12
    with routed("p", "172.31.0.0/16", "via", "10.0.1.1", "dev", "pe1"):
        reached = [(p, a) for p in places for a in targets if connects(p, a, seconds=0.4)]
    assert reached == []
    assert connects(NOC, IN_VRF), "control"


def test_mgmt_01_a_device_without_a_vrf_is_a_place_too(desk: Management, net: Net) -> None:
    """The address of a management port that is in no VRF can be reached through the core, as any
    address of a Linux machine can: the listener is bound to the port, and says no."""

    def beside(text: str) -> str:
        return text.replace(f"address: {IN_VRF}", f"address: {BESIDE}").replace(
            "bind-device: mgmt\n", "bind-device: mgmt1\n"
        )

    with (
        routed("p", "172.31.1.0/24", "via", "10.0.1.1", "dev", "pe1"),
        edited(net, beside),
    ):
        admin = desk.authority.issue("x", ADMIN)
        assert until(lambda: desk.answer(admin, BESIDE) is None, 20.0, every=0.5), "control"
        assert not connects("p", BESIDE)
        with socket_in("pe1") as unbound:
            unbound.bind((BESIDE, PORT + 1))
            unbound.listen()
            assert connects("p", BESIDE, PORT + 1), "control: without the device it is reached"
    assert until(lambda: desk.answer(admin) is None, 20.0, every=0.5)


# -- MGMT-2: who gets in -------------------------------------------------------------------------


STRANGERS: dict[str, tuple[Callable[[Authority], Pair | None], grpc.StatusCode]] = {
    "no-certificate": (lambda _: None, UNAVAILABLE),
    "self-signed": (lambda _: self_signed("x", ADMIN), UNAVAILABLE),
    "other-authority": (lambda _: Authority().issue("x", ADMIN), UNAVAILABLE),
    "expired": (lambda ours: ours.issue("x", ADMIN, age=3 * DAY), UNAVAILABLE),
    "not-yet-valid": (lambda ours: ours.issue("x", ADMIN, age=-3 * DAY), UNAVAILABLE),
    "for-servers-only": (lambda ours: ours.issue("x", ADMIN, usage=SERVER), UNAVAILABLE),
    "without-a-grant": (lambda ours: ours.issue("x", "spiffe://example.net/guest"), DENIED),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_mgmt_02_other_certificates(desk: Management, kind: str) -> None:
    make, expected = STRANGERS[kind]
    assert desk.answer(make(desk.authority)) is expected
    assert desk.answer(desk.authority.issue("x", ADMIN)) is None, "control"


def test_mgmt_02_a_revoked_certificate(desk: Management, net: Net) -> None:
    """From the moment that its authority says so, on the open connection and on new ones."""
    stolen, honest = desk.authority.issue("x", ADMIN), desk.authority.issue("y", ADMIN)
    with desk.client(stolen) as node, desk.client(honest) as other:
        assert node.status().name == other.status().name, "control"
        desk.put("crl.pem", desk.authority.revoke(stolen))
        try:
            before = net.lab.log("pe1", "pe").count("configuration_loaded")
            assert refused(node.reload) is UNAUTHENTICATED
            assert net.lab.log("pe1", "pe").count("configuration_loaded") == before
            assert desk.answer(stolen) is UNAUTHENTICATED
            assert refused(other.status) is None, "other certificates still work"
        finally:
            desk.put("crl.pem", desk.authority.revoke())


BAD_LISTS: dict[str, Callable[[Authority], bytes]] = {
    "rubbish": lambda _: b"not a list",
    "wrongly-signed": lambda _: Authority().revoke(),
    "out-of-date": lambda ours: ours.revoke(since=-2 * DAY, until=-DAY),
}


@pytest.mark.parametrize("kind", BAD_LISTS)
def test_mgmt_02_an_unusable_list_admits_no_caller(desk: Management, net: Net, kind: str) -> None:
    admin = desk.authority.issue("x", ADMIN)
    assert desk.answer(admin) is None, "control"
    told = net.lab.log("pe1", "pe").count("api_revocation")
    desk.put("crl.pem", BAD_LISTS[kind](desk.authority))
    try:
        assert desk.answer(admin) is UNAUTHENTICATED
        assert until(lambda: net.lab.log("pe1", "pe").count("api_revocation") > told, 10.0)
        assert net.pe1.status().name, "the Unix socket needs no certificate"
    finally:
        desk.put("crl.pem", desk.authority.revoke())
    assert desk.answer(admin) is None


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
def test_mgmt_02_old_tls(desk: Management, newest: ssl.TLSVersion) -> None:
    """1.1 is refused; the same client with 1.3, for control, is not."""
    desk.authority.issue("x", ADMIN).write(desk.folder, "old")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(desk.folder / "old.pem", desk.folder / "old.key")
    with warnings.catch_warnings(action="ignore"):  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest

    def handshake() -> bool:
        with socket_in(NOC) as plain:
            plain.settimeout(10)
            plain.connect((IN_VRF, PORT))
            try:
                context.wrap_socket(plain).close()
            except (ssl.SSLError, ConnectionError):
                return False
            return True

    assert handshake() == (newest is ssl.TLSVersion.TLSv1_3)


# -- MGMT-9: rotation -----------------------------------------------------------------------------


def shown_serial(desk: Management) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    desk.authority.issue("x", ADMIN).write(desk.folder, "look")
    context = ssl.create_default_context(cafile=str(desk.folder / "ca.pem"))
    context.load_cert_chain(desk.folder / "look.pem", desk.folder / "look.key")
    with socket_in(NOC) as plain:
        plain.settimeout(20)
        plain.connect((IN_VRF, PORT))
        with context.wrap_socket(plain, server_hostname=IN_VRF) as secured:
            shown = secured.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)


def up_since(net: Net) -> list[tuple[str, str, int]]:
    """Return the sessions that are up, and how often each was lost."""
    rows = net.pe1.show_neighbors()
    return [(n.vrf, n.address, n.flaps) for n in rows if n.state == n.SESSION_STATE_ESTABLISHED]


def test_mgmt_09_certificates_are_replaced_under_way(desk: Management, net: Net) -> None:
    """The node's own, and then the authority with its list: no restart, no session lost, no
    packet lost, and the connection that was open stays."""
    pid, sessions, former = net.lab.pid("pe1", "pe"), up_since(net), desk.authority
    old_client = former.issue("x", ADMIN)
    assert sessions
    before = shown_serial(desk)
    with desk.client(old_client) as open_before:
        assert open_before.status().name
        desk.certify()
        assert shown_serial(desk) != before
        assert open_before.status().name
    try:
        desk.authority = Authority("next CA")
        desk.put("crl.pem", desk.authority.revoke())
        desk.put("ca.pem", desk.authority.pem)
        desk.certify()
        assert desk.answer(desk.authority.issue("x", ADMIN)) is None
        assert desk.answer(old_client) is UNAVAILABLE
    finally:
        desk.authority = former
        desk.put("crl.pem", former.revoke())
        desk.put("ca.pem", former.pem)
        desk.certify()
    assert net.lab.pid("pe1", "pe") == pid
    assert up_since(net) == sessions
    net.sentinel(circuit("red", 1))


@pytest.mark.parametrize("skew", [3 * DAY, -3 * DAY], ids=["clock-ahead", "clock-behind"])
def test_mgmt_09_clock_skew(desk: Management, net: Net, skew: dt.timedelta) -> None:
    """A clock that is wrong by days makes every certificate look expired, or not valid yet: TCP
    says no, the Unix socket and the customers' packets do not care, and with the right time (here:
    with certificates of the node's time) all is well again without a restart."""
    pid = net.lab.pid("pe1", "pe")
    assert desk.answer(desk.authority.issue("x", ADMIN, age=skew)) is UNAVAILABLE
    assert until(lambda: net.pe1.status().in_sync, 10.0)
    net.sentinel(circuit("red", 1))
    assert desk.answer(desk.authority.issue("x", ADMIN)) is None
    assert net.lab.pid("pe1", "pe") == pid
