"""The API over TCP: mutual TLS or nothing, and the certificate alone says who calls."""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import grpc
import pytest
from bulkhead.client import Node, Tls, connect
from msgspec.structs import replace

from controlplane.model.intent import ApiGrant, ApiRole, TcpApiIntent
from tests.unit.api.certificates import DAY, SERVER, Authority, Pair, self_signed
from tests.unit.api.serving import Serving, node_intent, serving

NOC = "spiffe://example.net/noc"
GRANTS = (
    ApiGrant(identity=NOC, role=ApiRole.OPERATOR),
    ApiGrant(identity="red.example.net", role=ApiRole.VIEWER, vrfs=("red",)),
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Remote:
    """A node that listens on TCP, and the authority that it believes."""

    running: Serving
    authority: Authority
    folder: Path
    tcp: TcpApiIntent

    def client(self, pair: Pair | None) -> Node:
        address = f"127.0.0.1:{self.tcp.port}"
        ca = self.folder / "ca.pem"
        if pair is None:
            credentials = grpc.ssl_channel_credentials(ca.read_bytes())
            return Node(grpc.secure_channel(address, credentials), 5)
        pair.write(self.folder, "client")
        tls = Tls(self.folder / "client.pem", self.folder / "client.key", ca)
        return connect(address, tls=tls, timeout=5)

    def answer(self, pair: Pair | None) -> grpc.StatusCode | None:
        """How GetStatus ends: None where it is answered."""
        with self.client(pair) as node:
            try:
                node.status()
            except grpc.RpcError as error:
                return cast(grpc.Call, error).code()
        return None

    def server_serial(self) -> int:
        """Which certificate a new connection is shown."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(self.folder / "node.pem", self.folder / "node.key")
        with (
            socket.create_connection(("127.0.0.1", self.tcp.port), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            shown = secured.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "crl.pem").write_bytes(authority.revoke())
    authority.issue("pe1", "127.0.0.1", usage=SERVER).write(tmp_path, "node")
    tcp = TcpApiIntent(
        address=ip_address("127.0.0.1"),
        port=free_port(),
        certificate=str(tmp_path / "node.pem"),
        key=str(tmp_path / "node.key"),
        client_ca=str(tmp_path / "ca.pem"),
        client_crl=str(tmp_path / "crl.pem"),
        grants=GRANTS,
        bind_device="lo",
    )
    with serving(node_intent(tmp_path, tcp_api=tcp)) as running:
        yield Remote(running, authority, tmp_path, tcp)


def test_a_granted_certificate_is_served_by_its_role(remote: Remote) -> None:
    with remote.client(remote.authority.issue("x", NOC)) as node:
        assert node.status().name == "pe1"
        node.clear_neighbor("10.1.1.2", "red")
        with pytest.raises(grpc.RpcError, match="needs the role admin"):
            node.reload()
    assert [entry["who"] for entry in remote.running.audit] == [NOC] * 3


def test_a_customers_certificate_sees_its_vrf_alone(remote: Remote) -> None:
    with remote.client(remote.authority.issue("x", "red.example.net")) as node:
        assert {vrf.name for vrf in node.show_vrfs()} == {"red"}
        with pytest.raises(grpc.RpcError, match="VRF blue is not yours"):
            node.show_neighbors("blue")


def test_a_certificate_without_a_grant_may_do_nothing(remote: Remote) -> None:
    stranger = remote.authority.issue("x", "spiffe://example.net/stranger")
    assert remote.answer(stranger) is grpc.StatusCode.PERMISSION_DENIED


def test_a_common_name_does_not_stand_in_for_an_alternative_name(remote: Remote) -> None:
    assert remote.answer(remote.authority.issue(NOC)) is None
    forged = remote.authority.issue(NOC, "spiffe://example.net/stranger")
    assert remote.answer(forged) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("attack", ["none", "self-signed", "other CA", "expired", "server only"])
def test_other_certificates_do_not_get_through_the_handshake(remote: Remote, attack: str) -> None:
    made: dict[str, Callable[[], Pair | None]] = {
        "none": lambda: None,
        "self-signed": lambda: self_signed("x", NOC),
        "other CA": lambda: Authority().issue("x", NOC),
        "expired": lambda: remote.authority.issue("x", NOC, age=3 * DAY),
        "server only": lambda: remote.authority.issue("x", NOC, usage=SERVER),
    }
    assert remote.answer(made[attack]()) is grpc.StatusCode.UNAVAILABLE
    assert remote.answer(remote.authority.issue("x", NOC)) is None


def test_a_revoked_certificate_is_refused_on_an_open_connection_too(remote: Remote) -> None:
    stolen = remote.authority.issue("x", NOC)
    with remote.client(stolen) as node:
        assert node.status().name == "pe1"
        (remote.folder / "crl.pem").write_bytes(remote.authority.revoke(stolen))
        with pytest.raises(grpc.RpcError, match="revoked") as error:
            node.clear_neighbor("10.1.1.2", "red")
        assert cast(grpc.Call, error.value).code() is grpc.StatusCode.UNAUTHENTICATED
    assert remote.answer(stolen) is grpc.StatusCode.UNAUTHENTICATED
    assert remote.running.node.cleared == []
    assert remote.answer(remote.authority.issue("y", NOC)) is None
    assert ("api_certificate_refused", {"who": NOC, "reason": "the certificate is revoked"}) in (
        remote.running.notes.lines
    )


def test_a_missing_revocation_list_refuses_every_certificate(remote: Remote) -> None:
    (remote.folder / "crl.pem").unlink()
    noc = remote.authority.issue("x", NOC)
    assert remote.answer(noc) is grpc.StatusCode.UNAUTHENTICATED
    assert "api_revocation" in [event for event, _ in remote.running.notes.lines]
    (remote.folder / "crl.pem").write_bytes(remote.authority.revoke())
    assert remote.answer(noc) is None


def test_without_tls_nothing_is_served(remote: Remote) -> None:
    with Node(grpc.insecure_channel(f"127.0.0.1:{remote.tcp.port}"), 5) as node:
        with pytest.raises(grpc.RpcError) as error:
            node.status()
        assert cast(grpc.Call, error.value).code() is grpc.StatusCode.UNAVAILABLE


def test_old_tls_is_refused(remote: Remote) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    remote.authority.issue("x", NOC).write(remote.folder, "client")
    context.load_cert_chain(remote.folder / "client.pem", remote.folder / "client.key")
    with warnings.catch_warnings(action="ignore"):  # that it is old is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", remote.tcp.port), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain)


def test_certificates_are_replaced_while_it_runs(remote: Remote) -> None:
    before = remote.server_serial()
    with remote.client(remote.authority.issue("x", NOC)) as open_before:
        assert open_before.status().name == "pe1"
        remote.authority.issue("pe1", "127.0.0.1", usage=SERVER).write(remote.folder, "node")
        assert remote.server_serial() != before
        assert open_before.status().name == "pe1", "an open connection was cut"


def test_half_a_rotation_is_not_taken(remote: Remote) -> None:
    before = remote.server_serial()
    pair = remote.authority.issue("pe1", "127.0.0.1", usage=SERVER)
    key = (remote.folder / "node.key").read_bytes()
    (remote.folder / "node.pem").write_bytes(pair.certificate)
    assert remote.answer(remote.authority.issue("x", NOC)) is None
    assert any(event == "api_certificates" for event, _ in remote.running.notes.lines)
    (remote.folder / "node.key").write_bytes(pair.key)
    assert remote.server_serial() != before
    assert key != pair.key


def test_a_client_authority_that_is_replaced_is_believed_no_more(remote: Remote) -> None:
    old, new = remote.authority, Authority("the next CA")
    new.issue("pe1", "127.0.0.1", usage=SERVER).write(remote.folder, "node")
    (remote.folder / "ca.pem").write_bytes(new.pem)
    (remote.folder / "crl.pem").write_bytes(new.revoke())
    assert remote.answer(old.issue("x", NOC)) is grpc.StatusCode.UNAVAILABLE
    assert remote.answer(new.issue("x", NOC)) is None


def test_a_grant_that_is_taken_away_ends_at_once(remote: Remote) -> None:
    with remote.client(remote.authority.issue("x", NOC)) as node:
        assert node.status().name == "pe1"
        changed = replace(remote.running.intent, tcp_api=replace(remote.tcp, grants=()))
        remote.running.call(remote.running.api.apply(changed))
        with pytest.raises(grpc.RpcError) as error:
            node.status()
        assert cast(grpc.Call, error.value).code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_listener_comes_and_goes_with_the_configuration(remote: Remote) -> None:
    noc = remote.authority.issue("x", NOC)
    remote.running.call(remote.running.api.apply(node_intent(remote.folder)))
    assert remote.answer(noc) is grpc.StatusCode.UNAVAILABLE
    remote.running.call(remote.running.api.apply(node_intent(remote.folder, tcp_api=remote.tcp)))
    assert remote.answer(noc) is None


def test_missing_certificates_leave_the_local_api_alone(tmp_path: Path) -> None:
    tcp = TcpApiIntent(address=ip_address("127.0.0.1"), port=free_port(), certificate="/none",
                       key="/none", client_ca="/none")  # fmt: skip
    with serving(node_intent(tmp_path, tcp_api=tcp)) as running:
        assert "api_tcp_not_listening" in [event for event, _ in running.notes.lines]
        with running.client() as node:
            assert node.status().name == "pe1"


def test_silent_connections_do_not_keep_others_out(remote: Remote) -> None:
    """Sixteen connections that say nothing are all that one address gets, until they time out;
    the Unix socket does not notice."""
    silent = [socket.create_connection(("127.0.0.1", remote.tcp.port), 5) for _ in range(20)]
    try:
        for connection in silent[16:]:
            connection.settimeout(5)
            assert connection.recv(1) == b""
        with remote.running.client() as node:
            assert node.status().name == "pe1"
    finally:
        for connection in silent:
            connection.close()
