"""The node's figures in Prometheus's text format."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.model import view as v
from pe.metrics.counters import MEANINGS
from pe.metrics.figures import ConntrackUse, Figures
from pe.metrics.service import exposition
from pe.process.loop_lag import LagHistogram
from pe.view.counters import judged
from tests.unit.api.fake_node import FakeNode

GUARDS = tuple(asyncio.run(FakeNode().guards()))


def figures(**other: object) -> Figures:
    node = FakeNode()
    given: dict[str, object] = {
        "status": node.status(),
        "started": 1.7e9,
        "vrfs": tuple(node.vrfs()),
        "neighbors": tuple(node.neighbors()),
        "labels": tuple(node.labels()),
        "label_block": 8000,
        "next_hops": tuple(node.next_hops()),
        "ports": tuple(node.ports()),
        "guards": GUARDS,
        "counters": (v.CounterView(name="kernel_drift_repaired", value=2),),
        "conntrack": (
            ConntrackUse(vrf="", entries=1),
            ConntrackUse(vrf="red", entries=150, limit=200),
        ),
        "conntrack_table": (151, 65536),
        "failing": 0,
        "address_conflicts": 0,
        "group_id_conflicts": 0,
        "loop_lag": LagHistogram(),
        "longest_collection": 0.01,
        "serving": {"": False, "router": True, "dataplane": False},
    }
    return Figures(**{**given, **other})  # type: ignore[arg-type]


def values(text: str) -> dict[tuple[str, str], float]:
    """Name and labels, as Prometheus's own parser reads them, to the value."""
    return {
        (s.name, ",".join(f"{k}={x}" for k, x in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_every_family_says_what_it_is() -> None:
    text = exposition(figures()).decode()
    names = re.findall(r"^([a-z_]+)[{ ]", text, re.MULTILINE)
    typed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    told = dict(re.findall(r"^# HELP (\S+) (\S.*)$", text, re.MULTILINE))
    histogram = "bulkhead_loop_lag_seconds"
    names = [histogram if name.startswith(histogram) else name for name in names]
    assert set(names) <= set(typed)
    assert set(typed) == set(told)
    ours = {name: kind for name, kind in typed.items() if name.startswith("bulkhead_")}
    assert len(ours) > 25
    assert {n for n, kind in ours.items() if kind == "counter"} == {
        n for n in ours if n.endswith("_total")
    }
    assert "process_resident_memory_bytes" in typed


def test_what_is_asked_most() -> None:
    found = values(exposition(figures()).decode())
    lbl = "action=drop,class=,port=ce-red,requirement=LBL-2,vrf=red"
    expected = {
        ("bulkhead_guard_packets_total", lbl): 4,
        ("bulkhead_guard_bytes_total", lbl): 400,
        ("bulkhead_bgp_session_up", "asn=65001,neighbor=10.1.1.2,vrf=red"): 1,
        ("bulkhead_bgp_session_up", "asn=65001,neighbor=10.1.1.2,vrf=blue"): 0,
        ("bulkhead_bgp_session_state_seconds", "neighbor=10.1.1.2,vrf=red"): 751,
        ("bulkhead_bgp_routes_received", "family=ipv4,neighbor=10.1.1.2,vrf=red"): 3,
        ("bulkhead_vrf_routes", "vrf=red"): 4,
        ("bulkhead_vrf_routes_active", "vrf=red"): 3,
        ("bulkhead_labels", "state=in-use"): 1,
        ("bulkhead_labels", "state=hold-down"): 1,
        ("bulkhead_label_block_size", ""): 8000,
        ("bulkhead_next_hops", "state=reachable,vrf="): 1,
        ("bulkhead_next_hops", "state=unreachable,vrf=red"): 1,
        ("bulkhead_port_guarded", "port=ce-red,vrf=red"): 1,
        ("bulkhead_conntrack_entries", "vrf=red"): 150,
        ("bulkhead_conntrack_limit", "vrf=red"): 200,
        ("bulkhead_conntrack_table_size", ""): 65536,
        ("bulkhead_kernel_drift_repaired_total", ""): 2,
        ("bulkhead_build_info", "version=0.1.0"): 1,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_the_same_guard_of_two_tables_is_one_figure() -> None:
    row = v.GuardView(requirement="FAIL-1", name="fail_01", action="drop", packets=2, bytes=80)
    found = values(exposition(figures(guards=(row, row))).decode())
    key = "action=drop,class=,port=,requirement=FAIL-1,vrf="
    assert found["bulkhead_guard_packets_total", key] == 4


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "é"])
def test_names_from_outside_stay_inside_their_quotes(name: str) -> None:
    vrf = ConntrackUse(vrf=name, entries=7)
    found = values(exposition(figures(conntrack=(vrf,))).decode())
    assert found["bulkhead_conntrack_entries", f"vrf={name}"] == 7


def test_every_kernel_counter_of_a_policy_has_a_meaning() -> None:
    from pe.policy.program import COUNTERS

    rows = [*judged({f"{name}_16001": 5 for name in COUNTERS}, {16001: "red"})]
    assert {row.name for row in rows} <= set(MEANINGS)
    assert {(row.value, row.labels["vrf"]) for row in rows} == {(5, "red")}
    assert [*judged({"judged_7": 1, "what": 2}, {16001: "red"})] == []


def test_the_documentation_has_every_metric() -> None:
    counters = tuple(v.CounterView(name=name, value=1) for name in MEANINGS)
    text = exposition(figures(counters=counters)).decode()
    served = set(re.findall(r"^# TYPE (bulkhead_\w+)", text, re.MULTILINE))
    table = (Path(__file__).parents[3] / "docs/metrics.md").read_text().partition("\nAlerts")[0]
    rows = "\n".join(line for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(bulkhead_\w+)`", rows)) == served
