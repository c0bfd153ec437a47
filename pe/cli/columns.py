"""Define columns and order of the tables of ``pe show``, except routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bulkhead.v1 import node_pb2 as pb

from pe.cli.table import count, duration, table

_STATES = {
    pb.Neighbor.SESSION_STATE_IDLE: "Idle",
    pb.Neighbor.SESSION_STATE_CONNECT: "Connect",
    pb.Neighbor.SESSION_STATE_ACTIVE: "Active",
    pb.Neighbor.SESSION_STATE_ESTABLISHED: "Established",
    pb.Neighbor.SESSION_STATE_HELD_DOWN: "HeldDown",
}


def status(node: pb.GetStatusResponse) -> Iterator[str]:
    """Return the lines of ``pe show status``, one per field."""
    lines = {
        "Node": f"{node.name}, Bulkhead {node.version}",
        "Router id": f"{node.router_id}, AS {node.asn}",
        "Loopbacks": ", ".join(node.loopbacks),
        "Up": duration(node.uptime_seconds),
        "Kernel": _sync(node),
        "Flow records": f"none: {node.flow_log_problem}" if node.flow_log_problem else "read",
        "Policy": _policy(node),
        "Labels": node.label_block,
        "Configuration": node.config_file,
    }
    yield from (f"{name + ':':<15}{value}" for name, value in lines.items())
    if node.failing:
        yield f"{'Failing:':<15}{node.failing[0]}"
        yield from (f"{'':15}{each}" for each in node.failing[1:])
    if node.foreign:
        yield f"{'Foreign:':<15}{node.foreign} routes, rules or chains of other programs"
        yield from (f"  {each}" for each in node.foreign_objects)
    if node.held_down:
        last = duration(node.hold_down_seconds)
        yield f"{'Hold-down:':<15}{node.held_down} addresses are denied, the last for {last} more"
    if node.left_out:
        yield f"{'Left out:':<15}{node.left_out} routes, by a defect: see route_left_out"
        yield from (f"  {route}" for route in node.left_out_routes)


def _sync(node: pb.GetStatusResponse) -> str:
    if node.in_sync:
        return "in sync"
    return "not in sync" if node.failing else "being brought in sync"


def _policy(node: pb.GetStatusResponse) -> str:
    if node.enforced_revision:
        return f"revision {node.enforced_revision[:12]} is enforced"
    if node.workloads:
        return f"none is enforced: the {node.workloads} workloads here are in no group anywhere"
    return "none is enforced"


def vrfs(rows: Iterable[pb.Vrf]) -> Iterator[str]:
    """Return the table of ``pe show vrfs``."""
    return table(
        ("VRF", "RD", "Import RT", "Export RT", "Table", "Label", "Routes", "Active", "Ports"),
        [
            (
                row.name,
                row.rd,
                " ".join(row.import_targets) or "-",
                " ".join(row.export_targets) or "-",
                str(row.table),
                count(row.label),
                _of(row.routes, row.route_limit),
                str(row.active_routes),
                " ".join(row.ports) or "-",
            )
            for row in rows
        ],
        right="Table,Label,Routes,Active",
    )


def _of(number: int, limit: int) -> str:
    return f"{number}/{limit}" if limit else str(number)


def neighbors(rows: Iterable[pb.Neighbor]) -> Iterator[str]:
    """Return the table of ``pe show neighbors``: a line per session and family, core first."""
    return table(
        ("Neighbor", "VRF", "AS", "State", "Up/Down", "Family", "Received", "Sent", "Flaps"),
        [line for row in rows for line in _neighbor_lines(row)],
        right="AS,Up/Down,Received,Sent,Flaps",
    )


def _neighbor_lines(row: pb.Neighbor) -> Iterator[tuple[str, ...]]:
    age = "never" if row.never_up else duration(row.state_seconds)
    first = (row.address, row.vrf or "core", str(row.asn), _STATES.get(row.state, "?"), age)
    for family in row.families or [pb.NeighborFamily(family="-")]:
        up = row.state == pb.Neighbor.SESSION_STATE_ESTABLISHED
        received = _of(family.received, family.limit) if family.negotiated or not up else "not neg."
        yield (*first, family.family, received, str(family.sent), str(row.flaps))
        first = ("", "", "", "", "")


def neighbor_details(rows: Iterable[pb.Neighbor]) -> Iterator[str]:
    """Return the text of ``pe show neighbors --detail``."""
    for row in rows:
        place = f"VRF {row.vrf}, port {row.port}" if row.vrf else "core"
        about = f' "{row.description}"' if row.description else ""
        yield f"BGP neighbor {row.address}, AS {row.asn}, {place}{about}"
        yield from (f"  {line}" for line in _facts(row))
        yield ""


def _facts(row: pb.Neighbor) -> Iterator[str]:
    age = "" if row.never_up else f" for {duration(row.state_seconds)}"
    yield f"State {_STATES.get(row.state, '?')}{age}, lost {row.flaps} times"
    yield f"Local {row.local_address} AS {row.local_asn}, router id {row.router_id or '-'}"
    guard = f"at most {row.ttl_security} hops away" if row.ttl_security else "off"
    yield f"Hold time {row.hold_time} s, MD5 {'on' if row.md5 else 'off'}, TTL security {guard}"
    for family in row.families:
        state = "negotiated" if family.negotiated else "not negotiated"
        ended = ", End-of-RIB received" if family.end_of_rib else ""
        stale = f", {family.stale} stale" if family.stale else ""
        received = _of(family.received, family.limit)
        yield f"{family.family}: {state}, received {received}{stale}, sent {family.sent}{ended}"
    if row.held_seconds:
        yield f"Held down for {duration(row.held_seconds)} more; `pe clear neighbor` ends it"
    if row.refused:
        yield "Refused: " + ", ".join(f"{why} {n}" for why, n in sorted(row.refused.items()))
    yield from _refused("refused last", row.refused_routes)
    yield from _refused("not sent", row.unsent_routes)
    if row.last_error:
        yield f"Last error: {row.last_error}"


def _refused(title: str, routes: Iterable[pb.RefusedRoute]) -> Iterator[str]:
    for each in routes:
        name = f"{each.rd} {each.prefix}" if each.rd else each.prefix
        yield f"  {title}: {name}: {each.reason}, {duration(each.age_seconds)} ago"


def labels(rows: Iterable[pb.Label]) -> Iterator[str]:
    """Return the table of ``pe show labels``."""
    return table(
        ("Label", "VRF", "Action", "Table", "State"),
        [
            (
                str(row.label),
                row.vrf,
                "pop, look up in VRF",
                count(row.table),
                "in use"
                if row.state == pb.Label.STATE_IN_USE
                else f"hold-down {duration(row.hold_down_seconds)}",
            )
            for row in rows
        ],
        right="Label,Table",
    )


def next_hops(rows: Iterable[pb.NextHop]) -> Iterator[str]:
    """Return the table of ``pe show nexthops``."""
    return table(
        ("Id", "Next hop", "VRF", "VPN label", "State", "Via", "Routes"),
        [
            (
                count(row.id),
                row.address or "-",
                row.vrf or "core",
                str(row.vpn_label) if row.HasField("vpn_label") else "-",
                "up" if row.reachable else "unreachable",
                " | ".join(map(_path, row.paths)) or "-",
                str(row.routes),
            )
            for row in rows
        ],
        right="Id,VPN label,Routes",
    )


def _path(path: pb.NextHopPath) -> str:
    push = f" push {'/'.join(map(str, path.labels))}" if path.labels else ""
    weight = f" weight {path.weight}" if path.weight > 1 else ""
    return f"{path.gateway or 'link'} dev {path.port}{push}{weight}"


def ports(rows: Iterable[pb.Port]) -> Iterator[str]:
    """Return the table of ``pe show ports``, and a line below it for each port with a problem."""
    shown = list(rows)
    yield from table(
        ("Port", "Role", "VRF", "State", "Guard", "MTU", "Addresses", "Sources"),
        [
            (
                row.name,
                "CE" if row.role == pb.Port.ROLE_CE else "core",
                row.vrf or "-",
                "absent" if not row.present else "up" if row.up else "down",
                "on" if row.guarded else "off",
                count(row.mtu),
                " ".join(row.addresses) or "-",
                _sources(row),
            )
            for row in shown
        ],
        right="MTU",
    )
    yield from (f"{row.name}: {row.problem}" for row in shown if row.problem)


def _sources(row: pb.Port) -> str:
    if row.role != pb.Port.ROLE_CE:
        return "-"
    return "any" if row.any_source else " ".join(row.source_prefixes) or "none"


def counters(rows: Iterable[pb.Counter]) -> Iterator[str]:
    """Return the table of ``pe show counters``."""
    return table(
        ("Counter", "Of", "Value"),
        [
            (row.name, " ".join(f"{k}={v}" for k, v in sorted(row.labels.items())), str(row.value))
            for row in rows
        ],
        right="Value",
    )


def guards(rows: Iterable[pb.Guard]) -> Iterator[str]:
    """Return the table of ``pe show guards``."""
    return table(
        ("Keeps", "Port", "VRF", "Class", "Action", "Packets", "Bytes", "Table", "Guard"),
        [
            (
                row.requirement,
                row.port or "-",
                row.vrf or "-",
                row.traffic_class or "-",
                row.action,
                str(row.packets),
                str(row.bytes),
                row.family or "-",
                row.name,
            )
            for row in rows
        ],
        right="Packets,Bytes",
    )
