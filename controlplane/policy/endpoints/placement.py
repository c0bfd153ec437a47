"""Check a request to attach a workload: its name, VRF, port, addresses and tags."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.intent import CePortIntent, NodeIntent, VrfIntent
from controlplane.model.martians import MARTIANS
from controlplane.model.name_list import those
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.model.workload import OTHER_VRF, Workload
from controlplane.policy.endpoints.registry import EndpointRegistry, places
from controlplane.policy.language.selector import tag_fault

MOST_ADDRESSES, MOST_TAGS = 64, 64
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


class Why(enum.Enum):
    """The kinds of refusal."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    TAKEN = "taken"
    NOT_SO = "not so"
    TOO_MANY = "too many"
    OVERTAKEN = "overtaken"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field of a request."""

    field: str
    text: str


class RefusedError(Exception):
    """A change is refused; nothing has happened. The first fault is the main one."""

    def __init__(self, why: Why, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.text}" for fault in faults))
        self.why = why
        self.faults = faults


def refuse_malformed(workload: Workload, texts: list[str]) -> None:
    """Raise RefusedError with every field that cannot be what it is."""
    faults: list[Fault] = []
    if not _NAME.fullmatch(workload.name):
        text = f"{workload.name!r} is no name: a-z first, then a-z 0-9 _ . -, 63 at most"
        faults.append(Fault("workload.name", text))
    if not 1 <= len(texts) <= MOST_ADDRESSES:
        faults.append(Fault("workload.addresses", f"1 to {MOST_ADDRESSES} are needed"))
    if len(workload.tags) > MOST_TAGS:
        faults.append(Fault("workload.tags", f"at most {MOST_TAGS}"))
    faults += tag_faults("workload.tags", dict(workload.tags))
    for index, text in enumerate(texts):
        fault = _address_fault(text)
        if fault:
            faults.append(Fault(f"workload.addresses[{index}]", fault))
    if faults:
        raise RefusedError(Why.MALFORMED, *faults)


def tag_faults(field: str, tags: dict[str, str]) -> list[Fault]:
    """Return what is wrong with tags."""
    found = ((key, tag_fault(key, value)) for key, value in sorted(tags.items()))
    return [Fault(f"{field}[{key}]", fault) for key, fault in found if fault]


def _address_fault(text: str) -> str:
    try:
        prefix = parse_prefix(text)
    except ValueError as error:
        return str(error)
    return host_fault(prefix)


def host_fault(prefix: Prefix) -> str:
    """Return why a prefix cannot be a workload's, "" if it can: it would be advertised."""
    if prefix.is_default:
        return "a default route is no workload"
    if MARTIANS.covers(prefix):
        return f"{prefix} is loopback, link-local, multicast or reserved (RFC 6890): no host has it"
    return ""


def refuse_misplaced(workload: Workload, intent: NodeIntent, population: EndpointRegistry) -> None:
    """Raise RefusedError if the place does not exist, is taken, or lets no packet in."""
    vrf = intent.vrf(workload.vrf)
    if vrf is None:
        names = those("VRFs", (each.name for each in intent.vrfs))
        text = f"there is no VRF {workload.vrf!r}{names}"
        raise RefusedError(Why.UNKNOWN, Fault("workload.vrf", text))
    port = next((port for port in vrf.ports if port.name == workload.port), None)
    if port is None:
        names = those("ports", (each.name for each in vrf.ports))
        text = f"VRF {vrf.name} has no port {workload.port!r}{names}"
        raise RefusedError(Why.UNKNOWN, Fault("workload.port", text))
    _refuse_too_many(workload, vrf, population)
    _refuse_taken(workload, population)
    _refuse_unreachable(workload, vrf, port)


def _refuse_too_many(workload: Workload, vrf: VrfIntent, population: EndpointRegistry) -> None:
    """Refuse more than a VRF's share of the tables in the kernel (requirement MGMT-4)."""
    held = population.attachments
    if not vrf.workload_limit or workload.name in held:
        return
    count = sum(a.workload.vrf == vrf.name and not a.configured for a in held.values())
    if count >= vrf.workload_limit:
        text = f"VRF {vrf.name} has {count} workloads, as many as it may"
        raise RefusedError(Why.TOO_MANY, Fault("workload.vrf", text))


def _refuse_taken(workload: Workload, population: EndpointRegistry) -> None:
    for index, place in enumerate(places(workload)):
        others = population.owners(place) - {workload.name}
        if others:
            text = f"{place[1]} belongs to workload {min(others)}"
            raise RefusedError(Why.TAKEN, Fault(f"workload.addresses[{index}]", text))


def refuse_claimed(
    workload: Workload, known: Attachment | None, population: EndpointRegistry
) -> None:
    """Raise RefusedError if another PE has an address under another name.

    An address that the workload has already may stay: it claims nothing more than before.
    """
    former = set(places(known.workload)) if known is not None else set[EndpointKey]()
    for index, place in enumerate(places(workload)):
        remote = population.remote.get(place)
        if place in former or remote is None or remote.is_of(workload.name):
            continue
        where = " and ".join(remote.conflict) or remote.node or OTHER_VRF
        names = "different names" if remote.conflict else "another name"
        text = (
            f"{place[1]} is attached at {where} under {names}: detach it there first; "
            "a workload moves under the name that it has"
        )
        raise RefusedError(Why.TAKEN, Fault(f"workload.addresses[{index}]", text))


def _refuse_unreachable(workload: Workload, vrf: VrfIntent, port: CePortIntent) -> None:
    for index, prefix in enumerate(workload.addresses):
        field = f"workload.addresses[{index}]"
        if port.sources is not None and not any(s.contains(prefix) for s in port.sources):
            names = those("source-prefixes", map(str, port.sources))
            text = f"{prefix} is not among the source-prefixes of port {port.name}{names}"
            raise RefusedError(Why.NOT_SO, Fault(field, text))
        if any(_is_own(prefix, other) for other in vrf.ports):
            raise RefusedError(Why.NOT_SO, Fault(field, f"{prefix} holds an address of this node"))


def _is_own(prefix: Prefix, port: CePortIntent) -> bool:
    return any(prefix.contains(parse_prefix(str(interface.ip))) for interface in port.addresses)
