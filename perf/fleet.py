"""One tag changes among many: how soon it is enforced, at the PE that is called and at another.

Run as root on the lab kernel. Everything is real: two nodes with their ExaBGP, calls over gRPC,
packets that are let through or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
from bulkhead.client import Node, connect
from bulkhead.v1 import node_pb2 as pb

from labs.lab import RunningLab, running
from labs.namespaces import inside
from pe.nft.reader import RulesetReader
from pe.policy.lookup import VERDICT_MAPS
from pe.policy.program import TABLE
from perf import segment_world as world
from perf.fleet_lab import ASKERS, CE_PORTS, FAR, NEAR, lab
from perf.fleet_probes import TagProbes
from perf.probes import now
from perf.segment_node import VRF
from perf.segment_results import Fleet, FleetChange
from perf.waiting import AwaitedError, logs, wait
from tests.elements import elements_of

Say = Callable[[str], None]
PROBE_SECONDS = 0.004
PAUSE_SECONDS = 0.2
"""Before each change, so that it is one change, and not the end of the one before as well."""
LONGEST_SECONDS = 20.0
SETTLED_ROUNDS = 8
"""Rounds after which nothing may contradict what was seen."""
STEADY_ROUNDS = 5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    workloads: int = 10_000
    changes: int = 300


def fleet(say: Say, plan: Plan) -> Fleet:
    """Bring two PEs up, attach all, and change one tag after the other.

    Raises RuntimeError, LabError or grpc.RpcError when something does not come about.
    """
    with running(lab()) as up, _node(up, "pe1") as called, _node(up, "pe2") as other:
        for node in (called, other):
            wait("a node to have its sessions", partial(_is_up, node), 60.0, up)
            node.segment.stage(world.document())
            node.segment.promote()
        called.segment.attach("near", VRF, CE_PORTS[NEAR], [ASKERS[NEAR]], {"role": "any"})
        other.segment.attach("far", VRF, CE_PORTS[FAR], [ASKERS[FAR]], {"role": "any"})
        attach_seconds = _attach(called, plan.workloads)
        say(f"  {plan.workloads:,} workloads attached in {attach_seconds:.1f} s")
        attached = time.monotonic()
        count = plan.workloads * world.ADDRESSES
        learned = wait("routes at pe2", lambda: _held("pe2")["addresses4"] > count, 300.0, up)
        say(f"  all held by the other PE's kernel {learned - attached:.1f} s later")
        with TagProbes(up) as probes, ThreadPoolExecutor(1) as caller:
            changes = [
                _change(up, called, probes, caller, number, plan.workloads)
                for number in range(plan.changes)
            ]
        return Fleet(
            workloads=plan.workloads,
            elements=sum(_held("pe2").values()),
            attach_seconds=attach_seconds,
            learn_seconds=learned - attached,
            probe_seconds=PROBE_SECONDS,
            changes=tuple(changes),
        )


def _node(up: RunningLab, name: str) -> Node:
    return connect(f"{up.dir(name)}/run/api.sock", timeout=60.0)


def _is_up(node: Node) -> bool:
    """Its session stands, and it has begun: before that it promotes nothing."""
    up = pb.Neighbor.SESSION_STATE_ESTABLISHED
    speaks = any(neighbor.state == up for neighbor in node.show_neighbors(core_only=True))
    return speaks and node.status().in_sync


def _attach(node: Node, workloads: int) -> float:
    begun = time.monotonic()
    for number in range(workloads):
        each = world.workload(number, number % world.TIERS)
        addresses = [str(prefix) for prefix in each.addresses]
        node.segment.attach(each.name, VRF, each.port, addresses, each.tags)
    return time.monotonic() - begun


def _held(node: str) -> dict[str, int]:
    """Elements of each map of what is enforced, in a node's kernel."""
    with inside(node):
        reader = RulesetReader()
    try:
        kinds = {f"e_{name}": kind for name, kind in VERDICT_MAPS.items()}
        return {
            name.removeprefix("e_"): len(found)
            for name, found in elements_of(reader, TABLE, kinds).items()
        }
    finally:
        reader.close()


def _change(
    up: RunningLab, node: Node, probes: TagProbes, caller: ThreadPoolExecutor, number: int,
    workloads: int,
) -> FleetChange:  # fmt: skip
    """Give one workload another tier, and probe until both PEs go by it."""
    who = number * 17 % workloads
    old = who % world.TIERS
    new = (old + 1 + number % (world.TIERS - 1)) % world.TIERS
    time.sleep(PAUSE_SECONDS)
    probes.aim(who, (world.TIER_PORT + old, world.TIER_PORT + new))
    _steady(up, probes)
    begun = now()
    call = caller.submit(_tag, node, f"w{who}", f"t{new}")
    while not _settled(probes):
        if now() - begun > LONGEST_SECONDS:
            raise AwaitedError(f"w{who} from t{old} to t{new}: {_told(probes)}\n{logs(up)}")
        probes.round()
        time.sleep(PROBE_SECONDS)
    time.sleep(PROBE_SECONDS)
    probes.take()
    here, there = (probes.sides[asker].enforced() for asker in (NEAR, FAR))
    if (
        here is None
        or there is None
        or any(s.contradictions(now() - 0.05) for s in probes.sides.values())
    ):
        raise AwaitedError(f"w{who} from t{old} to t{new} came and went: {_told(probes)}")
    return FleetChange(answered=call.result() - begun, here=here - begun, there=there - begun)


def _tag(node: Node, name: str, tier: str) -> float:
    node.segment.tag(name, {"tier": tier})
    return now()


def _steady(up: RunningLab, probes: TagProbes) -> None:
    """The positive control: what the old tag allows arrives, what the new one will does not."""
    deadline = now() + LONGEST_SECONDS
    while not all(len(side.seen[0]) >= STEADY_ROUNDS for side in probes.sides.values()):
        if now() > deadline:
            raise AwaitedError(f"probes before a change: {_told(probes)}\n{logs(up)}")
        probes.round()
        time.sleep(PROBE_SECONDS)
    if any(side.seen[1] for side in probes.sides.values()):
        raise AwaitedError(f"probes before a change: {_told(probes)}\n{logs(up)}")


def _settled(probes: TagProbes) -> bool:
    """Both PEs go by the new tag, and enough rounds have been sent since."""
    moments = [side.enforced() for side in probes.sides.values()]
    return all(
        moment is not None and side.rounds_since(moment) >= SETTLED_ROUNDS
        for moment, side in zip(moments, probes.sides.values(), strict=True)
    )


def _told(probes: TagProbes) -> str:
    return ", ".join(
        f"{asker}: old {len(side.seen[0])} of {len(side.sent[0])}, "
        f"new {len(side.seen[1])} of {len(side.sent[1])}"
        for asker, side in probes.sides.items()
    )
