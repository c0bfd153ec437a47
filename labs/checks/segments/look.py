"""Discover, tag, test: nothing is blocked on this part of the road."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bulkhead.segment import Segment
from bulkhead.v1 import flows_pb2, policy_pb2

from labs.checks.node import established, sessions_text, show
from labs.checks.segments import policies
from labs.checks.segments.life import DAILY, TAGS, ask, broken, day, segment, settled, text
from labs.estate import HOSTS, ITS_OWN, OFFICE, STOLEN, host
from labs.lab import RunningLab
from labs.peers.frr import query
from labs.topology import Outcome

PES = ("pe1", "pe2")
SESSIONS = {"pe1": 1, "pe2": 2}


def sessions(lab: RunningLab) -> Iterator[Outcome]:
    """Both PEs know each other through the reflector, and pe2 the office's router."""
    for node, count in SESSIONS.items():
        ok = settled(lab, partial(established, lab, node, count))
        yield Outcome(ok, f"{node} has its sessions", sessions_text(lab, node))


def discover(lab: RunningLab) -> Iterator[Outcome]:
    """Workloads are attached; all goes on as it did; who talks to whom is seen."""
    for each in HOSTS:
        if each.name in TAGS:
            with segment(lab, f"pe{each.links[0]}") as pe:
                pe.attach(each.name, each.vrf, each.port, [each.v4, each.v6])
    for node in PES:
        listed = text(lab, node, "workload", "list")
        yield Outcome(listed.count("\n") >= 4, f"workloads are attached at {node}", listed)
    works = settled(lab, lambda: not broken(day(lab)))
    last = day(lab)
    yield Outcome(works and not broken(last), "the company works, v4 and v6", str(broken(last)))
    yield from _seen(lab)


def _seen(lab: RunningLab) -> Iterator[Outcome]:
    with segment(lab, "pe1") as pe:

        def seen() -> set[tuple[str, str, str]]:
            return {(f.vrf, f.source.workload or f.source.address, f.service)
                    for piece in pe.query_flows() for f in piece.flows if f.count}  # fmt: skip

        want = {("red", "web", "tcp/8080"), ("red", "app", "tcp/6379"), ("red", "pay", "udp/53"),
                ("red", "203.0.113.40", "tcp/80"), ("blue", "b-web", "tcp/6379")}  # fmt: skip
        ok = settled(lab, lambda: want <= seen())
        yield Outcome(ok, "every one of these flows is seen at pe1", str(want - seen() or want))
        loss = next(pe.query_flows()).loss.lost
        yield Outcome(loss == 0, "what telemetry lost is counted", f"{loss} flows lost")
    for node in PES:
        with segment(lab, node) as pe:
            baseline = pe.record_baseline("first-day").baseline
            title = f"the baseline is recorded at {node}"
            yield Outcome(baseline.flows > 5, title, f"{baseline.flows} flows")


def tag(lab: RunningLab) -> Iterator[Outcome]:
    """Tags make groups, and groups travel with the routes."""
    for name, tags in TAGS.items():
        with segment(lab, f"pe{host(name).links[0]}") as pe:
            pe.tag(name, tags)
    for node in PES:
        with segment(lab, node) as pe:
            digest = pe.stage(policies.TAGGED, reason="groups, no rules yet").revision.digest
            pe.promote(digest, "groups, no rules yet")
    with segment(lab, "pe1") as pe:
        groups = {w.name: list(w.groups) for w in pe.list_workloads()}
        several = len(groups["pay"]) == 3
        yield Outcome(several, "a workload is in several groups", f"pay: {groups['pay']}")
        place = ("red", [host("db").v4], "10.255.0.2")
        members = settled(
            lab,
            lambda: place in [(m.vrf, list(m.prefixes), m.node) for m in pe.group("db").members],
        )
        evidence = text(lab, "pe1", "group", "list", "db")
        yield Outcome(members, "pe1 knows pe2's database by its group", evidence)
    route = next(iter(show(lab, "pe1", "routes", "red", "--prefix", f"{host('db').v4}/32")))
    ok = "65000:1:103" in route["large_communities"]
    title = "the group is a large community of the VPN route"
    yield Outcome(ok, title, f"{route['prefix']}: {route['large_communities']}")
    yield from _no_workload_tags_itself(lab)
    yield Outcome(not broken(day(lab, ["web", "app"])), "nothing is blocked by that")
    drawn = text(lab, "pe1", "map", "--vrf", "red")
    ok = all(word in drawn for word in ("office", "payroll", "tcp/6379"))
    yield Outcome(ok, "the map shows who talks to whom", drawn)


def _no_workload_tags_itself(lab: RunningLab) -> Iterator[Outcome]:
    """The office's router says that it is payroll; and it receives no group communities either."""
    rows = show(lab, "pe1", "routes", "red", "--prefix", OFFICE)
    carried = [text for row in rows for text in row["large_communities"]]
    ok = ITS_OWN in carried and STOLEN not in carried
    title = "a customer's router gives itself no group: what it sent is gone, the rest is not"
    yield Outcome(ok, title, f"sent {STOLEN} {ITS_OWN}, arrived {carried}")
    with segment(lab, "pe1") as pe:
        source = pe.explain(host("office").v4, host("pay").v4, "tcp/443", "red").source
    ok = (list(source.groups), list(source.networks)) == ([], ["office"])
    yield Outcome(ok, "it is the network that it is", f"{list(source.groups)} {source.networks}")
    route = query(lab, "office", f"show bgp ipv4 unicast {host('db').v4}/32 json")
    told = [path.get("largeCommunity", {}) for path in route.get("paths", ())]
    ok = bool(told) and not any(told)
    yield Outcome(
        ok, "and it receives routes without group communities", f"{host('db').v4}/32: {told}"
    )


def test(lab: RunningLab) -> Iterator[Outcome]:
    """A policy is checked, tried on the baseline, staged, and judged on live traffic."""
    with segment(lab, "pe2") as pe:
        wrong = pe.check(policies.FORGETFUL.replace("to payroll", "too payroll"))
        first = f"line {wrong.problems[0].line}: {wrong.problems[0].problem}"
        yield Outcome(len(wrong.problems) == 1, "a slip of the pen is found, with its line", first)
        answer = pe.what_if(policies.FORGETFUL, baseline="first-day")
        hurt = _hurt(answer)
        ok = ("db", "vault") in hurt
        title = "what-if: the new policy would break the nightly backup"
        yield Outcome(ok, title, f"{answer.broken_flows} flows: {sorted(hurt)}")
        yield from _recommended(pe)
    yield from _staged(lab)


def _recommended(pe: Segment) -> Iterator[Outcome]:
    sentences = [each.sentence for each in pe.recommend("first-day").proposals]
    backup = [s for s in sentences if s.startswith("allow db to vault")]
    title = "the recommender proposes rules for what was seen"
    yield Outcome(bool(backup), title, "\n".join(sentences))
    accepted = policies.FORGETFUL + "".join(f"    - {sentence}\n" for sentence in backup)
    hurt = _hurt(pe.what_if(accepted, baseline="first-day"))
    title = "accepted in part, it saves the backup"
    said = (
        f"{len(backup)} of {len(sentences)} taken; would still break: {sorted(hurt) or 'nothing'}"
    )
    yield Outcome(("db", "vault") not in hurt and len(backup) < len(sentences), title, said)


def _hurt(answer: policy_pb2.WhatIfResponse) -> set[tuple[str, str]]:
    """Who would not reach whom any more; a workload by its name."""
    ends = ((each.flow.source, each.flow.destination) for each in answer.flows
            if not each.after.allowed)  # fmt: skip
    return {(a.workload or a.address, b.workload or b.address) for a, b in ends}


def _staged(lab: RunningLab) -> Iterator[Outcome]:
    for node in PES:
        with segment(lab, node) as pe:
            pe.stage(policies.FORGETFUL, reason="how would this do?")
    answers = day(lab, ["db", "app", "pay"])
    yield Outcome(not broken(answers), "staged, it blocks nothing", str(broken(answers)))
    with segment(lab, "pe2") as pe:

        def differing() -> set[tuple[str, str, bool]]:
            wish = flows_pb2.FlowFilter(staged_differs=True)
            return {(f.source.workload, f.service, f.staged.allowed)
                    for piece in pe.query_flows(wish) for f in piece.flows}  # fmt: skip

        ok = settled(lab, lambda: ("db", "tcp/8042", False) in differing())
        title = "live traffic shows what is done and what would be: the backup"
        yield Outcome(ok, title, text(lab, "pe2", "flows", "--differs"))
        yield Outcome(
            ("app", "tcp/6379", False) not in differing(), "what is allowed is not among it"
        )
    for node in PES:
        with segment(lab, node) as pe:
            pe.unstage("the backup is missing")
    works = ask(lab, "db", DAILY["db"])
    yield Outcome(all(works.values()), "the staged policy is gone, the backup went on", str(works))
