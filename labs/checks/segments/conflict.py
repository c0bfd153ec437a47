"""Two PEs that disagree: on whose an address is, and on which group an id stands for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import grpc

from labs.checks.node import all_established, show
from labs.checks.segments import policies
from labs.checks.segments.life import ask, segment, settled, text
from labs.estate import host
from labs.lab import RunningLab
from labs.reflected import REFLECTOR, TO_REFLECTOR
from labs.topology import Outcome

PES = ("pe1", "pe2")
TO_PAYROLL, TO_DB = "http:{pay.v4}:443", "redis:{db.v4}:6379"
OTHER_PROD = (
    policies.PAYROLL.replace("prod: {id: 108, selector: env=prod}",
                             "live: {id: 108, selector: env=prod or env=test}")
    .replace("to prod", "to live")
    .replace("allow prod", "allow live")
)  # fmt: skip
"""At one PE another group has the id of ``prod``."""


def one_address(lab: RunningLab) -> Iterator[Outcome]:
    """Payroll's address is attached at pe1 under another name: refused, and pending where the PEs
    did not see each other."""
    before = ask(lab, "app", [TO_PAYROLL, TO_DB])
    yield Outcome(all(before.values()), "payroll at pe2 answers, and the database", str(before))
    refusal = _attach_ghost(lab)
    ok = refusal.startswith("ALREADY_EXISTS") and "attached at 10.255.0.2 under another" in refusal
    yield Outcome(ok, "pe1 refuses its address under another name", refusal)
    after = ask(lab, "app", [TO_PAYROLL])
    yield Outcome(all(after.values()), "and payroll answers as before", str(after))
    yield from _apart(lab)
    yield from _marked(lab)
    denied = ask(lab, "app", [TO_PAYROLL, TO_DB])
    title = "the address is pending: nothing is allowed on the strength of it"
    yield Outcome(denied == {TO_PAYROLL: False, TO_DB: True}, title, str(denied))
    own = ask(lab, "pay", [TO_DB])
    yield Outcome(not any(own.values()), "nor may payroll itself send", str(own))
    flow = (host("app").v4, host("pay").v4, "tcp/443")
    explained = text(lab, "pe2", "explain", "--vrf", "red", *flow)
    yield Outcome("pending" in explained, "pe explain names the reason", explained)
    with segment(lab, "pe1") as pe:
        pe.detach("ghost")
    ok = settled(lab, lambda: not any(_alarms(lab)))
    yield Outcome(ok, "once it is detached both alarms end by themselves", _lists(lab))
    ok = settled(lab, lambda: all(ask(lab, "app", [TO_PAYROLL]).values()))
    yield Outcome(ok, "and payroll answers again", "")


def _attach_ghost(lab: RunningLab) -> str:
    """Attach payroll's address at pe1 under another name; return the refusal, "" if it is."""
    pay = host("pay")
    try:
        with segment(lab, "pe1") as pe:
            pe.attach("ghost", "red", pay.port, [pay.v4], {"tier": "ghost"})
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return ""


def _apart(lab: RunningLab) -> Iterator[Outcome]:
    """The way to the reflector is cut, the other name attached, and the way mended."""
    lab.run("p", "ip", "route", "replace", "blackhole", f"{REFLECTOR}/32")
    apart = settled(lab, lambda: not _sees(lab, "pe1"))
    refusal = _attach_ghost(lab)
    yield Outcome(apart and not refusal, "while pe1 does not see pe2 it cannot know", refusal)
    lab.run("p", "ip", "route", "replace", *TO_REFLECTOR)
    together = settled(lab, lambda: all(all_established(lab, node) for node in PES))
    yield Outcome(together, "the PEs see each other again", "")


def _sees(lab: RunningLab, node: str) -> bool:
    rows = show(lab, node, "routes", "red", "--prefix", f"{host('pay').v4}/32", "--all")
    return any(row["next_hop"] == "10.255.0.2" for row in rows)


def _alarms(lab: RunningLab) -> list[bool]:
    """Whether the list of workloads of each PE has a mark."""
    return [" under another name" in text(lab, node, "workload", "list") for node in PES]


def _lists(lab: RunningLab) -> str:
    return "\n".join(text(lab, node, "workload", "list") for node in PES)


def _marked(lab: RunningLab) -> Iterator[Outcome]:
    ok = settled(lab, lambda: all(_alarms(lab)))
    yield Outcome(ok, "both PEs mark it in pe workload list", _lists(lab))
    logged = [_logged(lab, node, "address_conflict") for node in PES]
    yield Outcome(all(logged), "and both have it in the journal", str(logged))


def one_id(lab: RunningLab) -> Iterator[Outcome]:
    """pe2 gives the id of a group to another one."""
    before = ask(lab, "app", [TO_DB])
    with segment(lab, "pe2") as pe:
        pe.stage(OTHER_PROD, reason="a mistake")
        pe.promote(reason="a mistake")
    for node in PES:
        ok = settled(lab, partial(_logged, lab, node, "group_id_conflict"))
        yield Outcome(ok, f"{node} finds it and raises an alarm", _lines(lab, node))
    denied = ask(lab, "app", [TO_DB])
    title = "endpoints whose groups are disputed are pending"
    yield Outcome(all(before.values()) and not any(denied.values()), title, f"{before} {denied}")
    with segment(lab, "pe2") as pe:
        pe.roll_back(reason="it was a mistake")
    for node in PES:
        ok = settled(lab, partial(_logged, lab, node, "group_id_conflict_cleared"))
        yield Outcome(ok, f"{node} clears it when both agree again", _lines(lab, node))
    ok = settled(lab, lambda: all(ask(lab, "app", [TO_DB]).values()))
    yield Outcome(ok, "and what is allowed is answered again", "")


def _logged(lab: RunningLab, node: str, event: str) -> bool:
    return f"event={event} " in lab.log(node, "pe")


def _lines(lab: RunningLab, node: str) -> str:
    lines = [line for line in lab.log(node, "pe").splitlines() if "group_id_conflict" in line]
    return "\n".join(lines[-2:])
