"""Enforce, gradually: development first, then payroll and the database."""

from __future__ import annotations

import time
from collections.abc import Iterator

from labs.checks.segments import policies
from labs.checks.segments.life import DAILY, ask, broken, day, result, segment, settled, start, text
from labs.lab import RunningLab
from labs.topology import Outcome

PES = ("pe1", "pe2")
SCAN = (
    "redis:{db.v4}:6379",
    "redis:{db.v6}:6379",
    "sink:{db.v4}:22",
    "sink:{db.v6}:22",
    "http:{pay.v4}:443",
    "http:{pay.v6}:443",
    "http:{pay.v4}:8081",
)
"""What a compromised web server tries: the database is at the other PE, payroll at its own."""


def development(lab: RunningLab) -> Iterator[Outcome]:
    """The development copy is isolated; other workloads are not affected."""
    before = ask(lab, "devweb", DAILY["devweb"])
    yield Outcome(all(before.values()), "development reaches production, as yet", str(before))
    yield from _promote(lab, policies.DEVELOPMENT, "development first")
    after = ask(lab, "devweb", DAILY["devweb"])
    yield Outcome(not any(after.values()), "development does not reach production", str(after))
    rest = day(lab, [name for name in DAILY if name != "devweb"])
    yield Outcome(not broken(rest), "everybody else works on", str(broken(rest)))


def payroll(lab: RunningLab) -> Iterator[Outcome]:
    """Payroll and database are closed around a break-in, without touching what is allowed."""
    reached = ask(lab, "web", SCAN)
    yield Outcome(all(reached.values()), "so far the web server reaches all of it", str(reached))
    allowed = start(lab, "app", "hold", "12", "{db.v4}", "6379")
    forbidden = start(lab, "web", "hold", "12", "{db.v4}", "6379")
    time.sleep(3.0)  # both connections are in use when the policy changes
    moment = time.monotonic()
    yield from _promote(lab, policies.PAYROLL, "payroll, with the backup")
    took = time.monotonic() - moment
    yield from _connections(result(allowed), result(forbidden), moment, took)
    yield from _closed(lab)


def _connections(
    allowed: dict[str, float], forbidden: dict[str, float], moment: float, took: float
) -> Iterator[Outcome]:
    late = forbidden["last"] - moment
    ok = forbidden["answers"] > 5 and late < took
    title = "the connection that the new policy forbids ends at once"
    said = f"{forbidden['answers']:.0f} answers, the last {late * 1000:.0f} ms after the promotion"
    yield Outcome(ok, title, f"{said} began; both PEs were promoted after {took * 1000:.0f} ms")
    ok = allowed["last"] > moment + took and allowed["longest"] < 1.0
    title = "the connection that is allowed did not notice"
    longest = allowed["longest"] * 1000
    yield Outcome(ok, title, f"{allowed['answers']:.0f} answers, longest silence {longest:.0f} ms")


def _closed(lab: RunningLab) -> Iterator[Outcome]:
    scanned = ask(lab, "web", SCAN)
    title = "the compromised web server gets nowhere, at both PEs, v4 and v6"
    yield Outcome(not any(scanned.values()), title, str(scanned))
    rest = day(lab, [name for name in DAILY if name != "devweb"])
    yield Outcome(not broken(rest), "the company works, its backup too", str(broken(rest)))
    for node in PES:
        with segment(lab, node) as pe:
            answer = pe.explain(
                "web" if node == "pe1" else "10.1.0.11", "10.1.0.21", "tcp/6379", "red"
            )
            rule = answer.enforced.rule
            title = f"{node} says the same about it"
            yield Outcome(not answer.enforced.allowed and rule == "default/full", title, rule)
    yield Outcome(True, "why", text(lab, "pe1", "explain", "web", "10.1.0.21", "tcp/6379"))
    with segment(lab, "pe1") as pe:
        denied = settled(lab, lambda: any(e.denied for e in pe.map().edges))
        yield Outcome(denied, "the scan is on the map", text(lab, "pe1", "map", "--denied"))


def back_and_forward(lab: RunningLab) -> Iterator[Outcome]:
    """One call back, one call forward."""
    with segment(lab, "pe1") as one, segment(lab, "pe2") as two:
        now = one.revisions()[0].digest
        for pe in (one, two):
            pe.roll_back(reason="is it the policy?")
        answered = ask(lab, "web", SCAN[:1])
        yield Outcome(all(answered.values()), "rolled back, the database answers", str(answered))
        for pe in (one, two):
            pe.roll_back(now, "it was not")
        answered = ask(lab, "web", SCAN[:1])
        title = "rolled forward, it does not"
        yield Outcome(not any(answered.values()), title, text(lab, "pe2", "policy", "log"))


def _promote(lab: RunningLab, document: str, reason: str) -> Iterator[Outcome]:
    """Stage everywhere before promoting anywhere."""
    digests = []
    for node in PES:
        with segment(lab, node) as pe:
            digests.append(pe.stage(document, reason=reason).revision.digest)
    said = []
    for node, digest in zip(PES, digests, strict=True):
        with segment(lab, node) as pe:
            done = pe.promote(digest, reason)
            took = done.enforced_after_microseconds / 1000
            said.append(f"{node} after {took:.0f} ms, {done.ended_flows} flows ended")
    same = len(set(digests)) == 1
    yield Outcome(same, f"both PEs enforce {digests[0][:12]}", "; ".join(said))
