"""The company's daily life, and how a check looks at it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bulkhead.client import connect
from bulkhead.segment import Segment

from labs.company import command
from labs.estate import host
from labs.lab import RunningLab
from labs.waiting import until

PATIENCE = 60.0

TAGS = {
    "web": {"tier": "web", "env": "prod"},
    "app": {"tier": "app", "env": "prod"},
    "pay": {"app": "payroll", "env": "prod", "scope": "pci"},
    "devweb": {"tier": "web", "env": "dev"},
    "db": {"tier": "db", "env": "prod"},
    "vault": {"tier": "vault", "env": "prod"},
    "mon": {"tier": "mon", "env": "prod"},
    "b-web": {"tier": "web", "env": "prod"},
    "b-db": {"tier": "db", "env": "prod"},
}

DAILY = {
    "office": ["http:{web.v4}:80"],
    "web": ["http:{app.v4}:8080", "http:{app.v6}:8080", "dns:{mon.v4}:53"],
    "app": [
        "redis:{db.v4}:6379", "redis:{db.v6}:6379", "http:{pay.v4}:443", "http:{pay.v6}:443",
        "dns:{mon.v4}:53",
    ],
    "pay": ["redis:{db.v4}:6379", "dns:{mon.v6}:53"],
    "devweb": ["http:{app.v4}:8080"],
    "mon": ["ping:{web.v4}:", "ping:{db.v4}:", "ping:{pay.v6}:"],
    "db": ["sink:{vault.v4}:8007", "sink:{vault.v4}:8042"],
    "b-web": ["redis:{b-db.v4}:6379"],
}  # fmt: skip
"""Who asks whom, on a day when all is well. `db` to `vault` is the nightly backup."""


def address_of(what: str) -> str:
    """``http:{app.v4}:8080`` with the address in it."""
    before, brace, rest = what.partition("{")
    if not brace:
        return what
    name, _, after = rest.partition("}")
    owner, _, family = name.partition(".")
    return before + str(getattr(host(owner), family)) + after


def sources(name: str) -> list[str]:
    """The words that make a client ask from its own addresses."""
    own = host(name)
    each = [own.v4] if own.home else [own.v4, own.v6]
    return [word for address in each for word in ("--from", address)]


def ask(lab: RunningLab, name: str, whats: Iterable[str]) -> dict[str, bool]:
    """What a host asks, and whether it was answered."""
    listed = list(whats)
    words = [address_of(what) for what in listed]
    done = lab.run(name, *command(), "ask", *words, *sources(name), timeout=120.0)
    return dict(zip(listed, json.loads(done.stdout), strict=True))


def day(lab: RunningLab, names: Iterable[str] = DAILY) -> dict[str, dict[str, bool]]:
    """The whole company asks what it asks every day, one host after the other."""
    return {name: ask(lab, name, DAILY[name]) for name in names}


def broken(answers: dict[str, dict[str, bool]]) -> list[str]:
    """Who got no answer."""
    return [f"{n} {w}" for n, whats in answers.items() for w, ok in whats.items() if not ok]


def start(lab: RunningLab, name: str, *words: str) -> subprocess.Popen[str]:
    """A client in the background: ``knock`` or ``hold`` with its words."""
    return lab.popen(name, *command(), *map(address_of, words), *sources(name))


def result(client: subprocess.Popen[str], seconds: float = 60.0) -> Any:
    """What a client in the background prints at its end."""
    return json.loads(client.communicate(timeout=seconds)[0])


@contextmanager
def segment(lab: RunningLab, node: str) -> Iterator[Segment]:
    """The services of microsegmentation of a PE."""
    with connect(str(lab.dir(node) / "run" / "api.sock"), timeout=60.0) as client:
        yield client.segment


def both(lab: RunningLab) -> tuple[str, str]:
    """The PEs."""
    del lab
    return ("pe1", "pe2")


def settled(lab: RunningLab, condition: Any) -> bool:
    """Whether something comes true in time."""
    del lab
    return until(condition, PATIENCE, every=0.2)


def text(lab: RunningLab, node: str, *words: str) -> str:
    """What a ``pe`` command prints on a PE."""
    from labs.peers.pe import API
    from labs.peers.pe import command as pe

    done = lab.run(node, pe(), *words, "--socket", API, check=False)
    return (done.stdout + done.stderr).rstrip()
