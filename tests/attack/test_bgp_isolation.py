"""BGP-14: code in the BGP process of one VPN does not reach the processes or the VRF of another."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.model.speaker_user import FIRST_UID, UIDS
from labs.attack import plan
from labs.attack.net import PROBE_PORT, Net, circuit, watching
from labs.attack.port import token
from labs.attack.switch import Switch
from labs.namespaces import inside
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.speech import SECONDS, done, node_pid, taken, to_pe, workers

STOPPED_SECONDS = 15.0
"""Eight until the node knows, and the rest for a busy machine."""
CIRCUITS = {vpn: circuit(vpn, 1) for vpn in ("red", "blue")}


def users(net: Net) -> dict[str, tuple[int, int]]:
    """VRF ("" is the core) -> process id and user id of its BGP process on pe1."""
    found = {}
    for vrf, pid in workers(net).items():
        status = Path(f"/proc/{pid}/status").read_text()
        found[vrf] = pid, int(status.partition("\nUid:\t")[2].split()[0])
    return found


def as_user(uid: int, action: Callable[[], object]) -> int:
    """Do something on pe1 as a user without rights; its errno, 0 if there is no error."""
    with inside("pe1"):
        child = os.fork()
        if not child:
            status = 255
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(uid, uid, uid)
                try:
                    action()
                    status = 0
                except OSError as error:
                    status = error.errno or 254
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_bgp_14_each_process_has_a_user_of_its_own(net: Net) -> None:
    found = {vrf: uid for vrf, (_, uid) in users(net).items()}
    assert found.keys() >= {"", "red", "blue"}
    assert len(set(found.values())) == len(found)
    assert all(FIRST_UID <= uid < FIRST_UID + UIDS for uid in found.values())


def test_bgp_14_none_signals_or_limits_another(net: Net) -> None:
    found = users(net)
    (blue, its_uid), (_, red_uid) = found["blue"], found["red"]

    def limit() -> None:
        resource.prlimit(blue, resource.RLIMIT_NOFILE)

    for other in ("red", ""):
        uid = found[other][1]
        assert as_user(uid, lambda: os.kill(blue, 0)) == errno.EPERM
        assert as_user(uid, limit) == errno.EPERM
    assert as_user(red_uid, lambda: os.kill(net.lab.pid("pe1", "pe") or 0, 0)) == errno.EPERM
    assert as_user(its_uid, lambda: os.kill(blue, 0)) == 0, "control"


def test_bgp_14_each_process_filters_its_system_calls(net: Net) -> None:
    """And starts no process, writes no file; the control is the node, which has no filter here."""
    assert "Seccomp:\t0\n" in Path(f"/proc/{node_pid(net)}/status").read_text(), "control"
    for pid, _ in users(net).values():
        assert "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()
        assert resource.prlimit(pid, resource.RLIMIT_NPROC) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_FSIZE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] < 2000
    assert "speaker_unconfined" not in net.lab.log("pe1", "pe")


def test_bgp_14_a_stopped_process_is_replaced_within_seconds(net: Net) -> None:
    """Its sessions come back; those of the other VRF, of IPv6 and of the core never went down."""
    with to_pe("blue") as blue, to_pe("blue", 6) as blue6, to_pe() as red:
        found = users(net)
        begun = time.monotonic()
        os.kill(found["red"][0], signal.SIGSTOP)
        red.listen(SECONDS, lambda: red.closed)
        assert red.closed
        assert time.monotonic() - begun < STOPPED_SECONDS
        with to_pe() as again, to_pe(version=6) as again6:
            taken(net, again, "10.101.8.0/24")
            taken(net, again6, "2001:db8:101:8::/64")
        after = users(net)
        assert after["red"] != found["red"]
        assert {vrf: after[vrf] for vrf in ("", "blue")} == {v: found[v] for v in ("", "blue")}
        done(net, blue, "blue")
        done(net, blue6, "blue", 6)
        assert blue.alive
        assert blue6.alive
        assert net.core_is_up()
    assert "speaker_stopped" in net.lab.log("pe1", "pe")


@pytest.mark.parametrize("version", [4, 6])
def test_bgp_14_none_sends_into_another_vrf(net: Net, version: int) -> None:
    """Datagrams as red's user, bound to blue's VRF; and to red's own, where TCP alone passes."""
    uid = users(net)["red"][1]
    family = socket.AF_INET if version == 4 else socket.AF_INET6

    def send(vrf: str, mark: bytes) -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, vrf.encode())
            made.sendto(mark, (plan.lan(1, version), PROBE_PORT))

    def arrives(vrf: str, seconds: float) -> bool:
        mark = token()
        with watching(CIRCUITS[vrf].ce) as (eye,):
            as_user(uid, lambda: send(vrf, mark))
            return until(lambda: eye.count(mark) > 0, seconds)

    with Switch(net).off(Guard.SPEAKERS):
        assert arrives("blue", 5.0), "control"
        assert arrives("red", 5.0), "control"
    before = net.dropped("", "BGP-14")
    assert not arrives("blue", 0.5)
    assert not arrives("red", 0.5)
    assert net.dropped("", "BGP-14") >= before + 2
