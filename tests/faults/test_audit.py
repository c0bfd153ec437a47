"""A change that cannot be written into the audit log is refused and not made; the next one is."""

from __future__ import annotations

import errno
from pathlib import Path

import grpc
import pytest

from controlplane.api.access.audit import AuditLog
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
