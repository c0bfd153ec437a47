"""A change that cannot be written into the audit log is refused and not made; the next one is."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import grpc
import pytest
from bulkhead.v1 import node_pb2 as pb

from controlplane.api.access.audit import AuditLog
from controlplane.api.access.audit_chain import Anchor, AuditFile, verify
from tests.faults.adapters import Fault, case_id
from tests.unit.api.serving import node_intent, serving

ERRORS = [
    OSError(errno.ENOSPC, "no space left on device"), OSError(errno.EIO, "input/output error"),
    OSError(errno.EROFS, "read-only file system"), KeyError("injected"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=case_id)
def test_a_change_that_cannot_be_audited_is_not_made(tmp_path: Path, error: Exception) -> None:
    fault = Fault(AuditLog, "write", error)
    try:
        with serving(node_intent(tmp_path)) as running, running.client() as node:
            fault.arm()
            with pytest.raises(grpc.RpcError):
                node.reload()
            assert fault.fired
            assert running.node.reloads == 0
            node.reload()  # the control
            assert running.node.reloads == 1
            assert [line["phase"] for line in running.audit] == ["asked", "ended"]
    finally:
        fault.undo()


def test_a_call_that_ends_while_it_is_written_down_gets_both_lines_and_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, sync, gate = AuditFile.append, os.fsync, threading.Event()
    begun = {"asked": threading.Event(), "ended": threading.Event()}

    def noted(file: AuditFile, fields: dict[str, object]) -> Anchor:
        begun[str(fields["phase"])].set()
        return append(file, fields)

    def held(descriptor: int) -> None:
        gate.wait(10)
        sync(descriptor)

    with serving(node_intent(tmp_path)) as running, running.client() as node:
        node.reload()
        monkeypatch.setattr(AuditFile, "append", noted)
        monkeypatch.setattr(os, "fsync", held)
        call = node._stub.Reload.future(pb.ReloadRequest())
        assert begun["asked"].wait(10)
        call.cancel()
        assert begun["ended"].wait(10), "the call's end is not written down"
        gate.set()
        node.reload()
        assert running.node.reloads == 2
    ends = [line["result"] for line in running.audit if line["phase"] == "ended"]
    assert ends == ["OK", "CANCELLED", "OK"]
    assert [line["phase"] for line in running.audit] == ["asked", "ended"] * 3
    assert verify(tmp_path / "state" / "audit.log")[1] == ""
