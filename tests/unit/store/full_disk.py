"""Fill a folder and see what the store and the audit log make of it: run in a process of its own.

Usage: ``python -m tests.unit.store.full_disk FOLDER limit|disk``. With ``limit`` the size of files
is limited (RLIMIT_FSIZE); with ``disk`` FOLDER is a small file system, which is filled. Prints
``good`` if every refused change left nothing, and every later one was kept.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from controlplane.api.access.audit_chain import AuditFile, first_break
from controlplane.model.attachment import Attachment, MembershipChange
from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.model.observed import Baseline
from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import Workload
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger
from controlplane.store import EmbeddedStore, StoreError, open_store

NOW = BootTime("boot", 5.0)
LINE = MembershipChange("w", "attached", "", "x" * 20_000, "ada", 1.0)
Save = Callable[[EmbeddedStore, int], None]


def _attachment(number: int) -> Attachment:
    tags = {f"t{n}": "x" * 60 for n in range(64)}
    prefix = parse_prefix(f"10.0.{number >> 8}.{number & 255}")
    return Attachment(Workload(f"w{number}", "red", "p1", (prefix,), tags), 1, 1.0)


def _ledger(number: int) -> Ledger:
    rules = "\n".join(f"  - allow any to any on tcp/{n}" for n in range(1, 60))
    return Ledger().draft(parse_policy(f"name: n{number}\nrules:\n{rules}"))[0]


SAVES: dict[str, Save] = {
    "labels": lambda s, n: s.save_labels(SaveLabels({f"v{n}-{i}": 16 + i for i in range(900)}, {})),
    "attachment": lambda s, n: s.save_attachment(_attachment(n), LINE),
    "detachment": lambda s, n: s.forget_attachment(f"w{n}", LINE, [("red", _place(n))], NOW, 300.0),
    "history": lambda s, n: s.save_changes([replace(LINE, workload=f"h{n}")] * 3),
    "ledger": lambda s, n: s.save_ledger(Ledger(), _ledger(n)),
    "baseline": lambda s, n: s.save_baseline(Baseline(f"b{n}", 1.0, 2.0, "x" * 20_000, 0)),
}


def _place(number: int):  # type: ignore[no-untyped-def]
    return parse_prefix(f"10.1.{number >> 8}.{number & 255}")


def contents(store: EmbeddedStore) -> object:
    return store.load_labels(), store.load_policy()


@contextmanager
def scarce(folder: Path, how: str) -> Iterator[None]:
    """No room for more than a little."""
    if how == "limit":
        size = max(file.stat().st_size for file in folder.iterdir()) + 3_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        return
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(512))
        except OSError:
            pass
    yield
    ballast.unlink()


def check_store(folder: Path, how: str) -> None:
    store = open_store(folder)
    for name, save in SAVES.items():
        save(store, 1)
        with scarce(folder, how):
            refused = ""
            for number in range(2, 400):
                before = contents(store)
                try:
                    save(store, number)
                except StoreError as error:
                    refused = str(error)
                    break
            assert "disk" in refused, (name, refused)
            assert "state.db" in refused
            assert contents(store) == before, f"{name}: a refused change left something"
        before = contents(store)
        save(store, 1000)
        assert contents(store) != before, f"{name}: not usable afterwards"
    kept = contents(store)
    store.close()
    again = open_store(folder)
    assert contents(again) == kept
    again.close()


def check_audit(folder: Path, how: str) -> None:
    file = AuditFile(folder / "audit.log")
    file.append({"event": "first"})
    with scarce(folder, how):
        written = 1
        try:
            while True:
                file.append({"event": "x" * 137})
                written += 1
        except OSError:
            pass
        lines = file.path.read_text().splitlines()
        assert len(lines) == written
    file.append({"event": "room again"})
    assert first_break(file.path.read_text().splitlines()) is None


if __name__ == "__main__":
    where = Path(sys.argv[1])
    check_store(where, sys.argv[2])
    check_audit(where, sys.argv[2])
    print("good")
