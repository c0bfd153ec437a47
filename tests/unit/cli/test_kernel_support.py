"""A kernel without what a node needs: `pe run` and `pe check --live` name it, with the cure."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pe.cli import kernel_support, run
from pe.cli.kernel_support import NEEDS, Need
from pe.cli.main import main
from pe.netlink import codec as nl
from tests.unit.config.text import GOOD


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "pe.yaml"
    made.write_text(GOOD)
    made.chmod(0o600)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the kernel refuse every request with this error."""

    def request(_sock: object, _kind: int, _flags: int, _body: bytes) -> None:
        raise nl.KernelRefusedError(number, "refused")

    monkeypatch.setattr(nl.NetlinkSocket, "request", request)


def lack(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    def missing() -> Iterator[Need]:
        return (need for need in NEEDS if need.module in modules)

    monkeypatch.setattr(kernel_support, "missing", missing)


def test_each_answer_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, errno.EOPNOTSUPP)
    assert not kernel_support.has_device_kind("vrf")
    assert not kernel_support.has_encapsulation(1)
    answer(monkeypatch, errno.EINVAL)
    assert kernel_support.has_device_kind("vrf"), "the table is missing, not the kind"
    assert not kernel_support.has_netfilter(10)
    answer(monkeypatch, errno.ESRCH)
    assert kernel_support.has_encapsulation(1), "there is no such route"
    answer(monkeypatch, errno.EPERM)
    with pytest.raises(PermissionError):
        [*kernel_support.missing()]


def test_run_names_what_is_missing_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setattr(run, "_give_up_privileges", lambda: None)
    monkeypatch.setattr(run, "_run", lambda *_: pytest.fail("it was started"))
    lack(monkeypatch, "vrf", "nf_tables")
    result = CliRunner().invoke(main, ["run", str(file)])
    assert result.exit_code == 1
    vrf, nftables, end = result.stderr.splitlines()
    assert vrf.startswith("pe: this kernel has no VRF devices (module vrf, CONFIG_NET_VRF):")
    assert "`modprobe vrf`" in vrf
    assert "(module nf_tables, CONFIG_NF_TABLES)" in nftables
    assert end == "pe: the router is not started; `pe check --live` shows these errors too"


def test_check_live_has_the_same_as_errors(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr("pe.cli.check.unasked", lambda: iter(()))
    lack(monkeypatch, "mpls_router", "mpls_iptunnel")
    result = CliRunner().invoke(main, ["check", "--live", str(file)])
    assert result.exit_code == 1
    assert "kernel: this kernel has no MPLS forwarding (module mpls_router," in result.stderr
    assert "`modprobe mpls_iptunnel`" in result.stderr
    assert result.stderr.splitlines()[-1] == "pe: `pe run` would not start on this kernel"
    found = CliRunner().invoke(main, ["check", "--live", "--json", str(file)])
    assert found.exit_code == 1
    assert [each["path"] for each in json.loads(found.stdout)["errors"]] == ["kernel", "kernel"]


def test_without_root_check_live_says_that_the_kernel_was_not_asked(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    answer(monkeypatch, errno.EPERM)
    result = CliRunner().invoke(main, ["check", "--live", str(file)])
    assert result.exit_code == 0
    assert "warning: " in result.stderr
    assert "kernel: only root can ask what it can do" in result.stderr


def test_check_without_live_asks_no_kernel(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(kernel_support, "missing", lambda: pytest.fail("it was asked"))
    assert CliRunner().invoke(main, ["check", str(file)]).exit_code == 0
