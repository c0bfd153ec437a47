"""A workload moves to the other PE with its address and its policy; then the proof of it all."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator

from labs.checks.node import show
from labs.checks.segments.life import ask, result, segment, settled, start, text
from labs.estate import arrive, by_old_cable, host, leave
from labs.lab import RunningLab
from labs.topology import Outcome

WATCH_SECONDS = "25"


def move(lab: RunningLab) -> Iterator[Outcome]:
    """Payroll goes from pe1 to pe2 while one who may and one who may not ask it all the time."""
    pay = host("pay")
    may = start(lab, "app", "knock", WATCH_SECONDS, "http:{pay.v4}:443")
    may_not = [
        start(lab, "web", "knock", WATCH_SECONDS, "http:{pay.v4}:443"),
        start(lab, "office", "knock", WATCH_SECONDS, "http:{pay.v4}:8081"),
    ]
    time.sleep(4.0)  # they are at it when it begins
    moment = time.monotonic()
    for command in (*leave(pay, 1), *arrive(pay, 2)):
        lab.run("pay", *command)
    with segment(lab, "pe2") as pe:
        tags = {"app": "payroll", "env": "prod", "scope": "pci"}
        made = pe.attach("pay", "red", pay.port, [pay.v4, pay.v6], tags)
    took = time.monotonic() - moment
    yield Outcome("payroll" in made.groups, "pe2 has it, in its groups", f"{list(made.groups)}")
    yield from _route(lab)
    with segment(lab, "pe1") as pe:
        pe.detach("pay")
    yield from _asked(may, may_not, moment, took)
    after = ask(lab, "app", ["http:{pay.v4}:443", "http:{pay.v6}:443"])
    yield Outcome(all(after.values()), "who may reach it does, v4 and v6", str(after))
    after = ask(lab, "web", ["http:{pay.v4}:443", "http:{pay.v6}:443", "http:{pay.v4}:8081"])
    yield Outcome(not any(after.values()), "who may not does not, v4 and v6", str(after))
    yield from _impostor(lab)


def _impostor(lab: RunningLab) -> Iterator[Outcome]:
    """A host at the port that payroll left; the port still lists its prefixes."""
    questions, before = ["redis:{db.v4}:6379", "redis:{db.v6}:6379"], _spoofed(lab, "pe1")
    ways = [*by_old_cable(host("pay"), host("db"))]
    for way in ways:
        lab.run("pay", "ip", *way)
    answered = ask(lab, "pay", questions)
    dropped = _spoofed(lab, "pe1") - before
    for way in ways:
        lab.run("pay", "ip", *(word if word != "add" else "del" for word in way))
    title = "from the port that it left, packets with its address are dropped"
    said = f"{answered}; pe1 dropped {dropped} packets"
    yield Outcome(not any(answered.values()) and dropped > 1, title, said)
    answered = ask(lab, "pay", questions)
    yield Outcome(all(answered.values()), "from where it is now, it does", str(answered))


def _spoofed(lab: RunningLab, node: str) -> int:
    """Packets whose source address is bound to another port."""
    counters = show(lab, node, "counters")
    return sum(int(c["value"]) for c in counters if c["name"] == "segment_packets_spoofed")


def _route(lab: RunningLab) -> Iterator[Outcome]:
    wanted = ("routes", "red", "--prefix", f"{host('pay').v4}/32")

    def best() -> str:
        rows = [row for row in show(lab, "pe1", *wanted) if row["best"]]
        return str(rows[0]["next_hop"]) if rows else ""

    ok = settled(lab, lambda: best() == "10.255.0.2")
    title = "pe1 yields: the route of the later move wins"
    yield Outcome(ok, title, f"next hop of {host('pay').v4} at pe1: {best()}")


def _asked(
    may: subprocess.Popen[str], may_not: list[subprocess.Popen[str]], moment: float, took: float
) -> Iterator[Outcome]:
    answers = result(may)
    good = [at for at, ok in answers if ok]
    gap = max((after - before for before, after in itertools.pairwise(good)), default=99.0)
    ok = gap < 10.0 and good[-1] > moment + took
    said = f"{gap:.2f} s without an answer; host and API needed {took:.2f} s"
    yield Outcome(ok, "the gap is measured", said)
    for client in may_not:
        attempts = result(client)
        let_in = sum(ok for _, ok in attempts)
        title = "not one packet got in under an old or missing identity"
        yield Outcome(
            let_in == 0 and bool(attempts), title, f"{len(attempts)} attempts, {let_in} let in"
        )


def prove(lab: RunningLab) -> Iterator[Outcome]:
    """Evidence for the auditor, from the PE that has payroll."""
    report = text(lab, "pe2", "evidence", "--tag", "scope=pci")
    parts = ("Members", "Allowed", "Denied attempts", "Policy changes", "telemetry:")
    yield Outcome(all(part in report for part in parts), "evidence for scope=pci", report)
    answer = json.loads(text(lab, "pe2", "evidence", "--tag", "scope=pci", "--json"))
    members = [member["workload"] for member in answer["members"]]
    allowed = [pair for pair in answer["allowed"] if pair["rule"] == "application/10"]
    used = bool(allowed) and int(allowed[0]["count"]) > 0
    yield Outcome(members == ["pay"] and used, "and for programs", f"members {members}, {allowed}")
    denied = {
        attempt["source"]["workload"] or attempt["source"]["address"]
        for attempt in answer["denied"]
    }
    yield Outcome(bool(denied), "with the attempts that were denied", str(sorted(denied)))
    why = {change["why"] for change in answer["changes"]}
    yield Outcome("payroll, with the backup" in why, "and who changed what, and why", str(why))


def survive(lab: RunningLab) -> Iterator[Outcome]:
    """``kill -9``: the kernel goes on judging, and the node knows everything again."""
    with segment(lab, "pe2") as pe:
        before = [(w.name, w.generation) for w in pe.list_workloads()], pe.revisions()[0].digest
    allowed = start(lab, "app", "knock", "20", "http:{pay.v4}:443")
    denied = start(lab, "web", "knock", "20", "redis:{db.v4}:6379")
    time.sleep(2.0)  # they are at it
    lab.restart("pe2", "pe", signal=9)
    outcomes = [ok for _, ok in result(allowed)]
    lost = outcomes.count(False)
    yield Outcome(lost == 0 and len(outcomes) > 20, "killed and started again, pe2 lets in who may",
                  f"{len(outcomes)} new connections, {lost} failed")  # fmt: skip
    outcomes = [ok for _, ok in result(denied)]
    yield Outcome(not any(outcomes) and bool(outcomes), "and at no moment who may not",
                  f"{len(outcomes)} attempts, {sum(outcomes)} let in")  # fmt: skip
    with segment(lab, "pe2") as pe:
        after = [(w.name, w.generation) for w in pe.list_workloads()], pe.revisions()[0].digest
    yield Outcome(before == after, "workloads and revisions are as they were", str(after))
