"""Whether an intent can be had at all, and with which labels: asked before anything is touched."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

import msgspec

from controlplane.model.instant import BootTime
from controlplane.model.intent import NodeIntent
from controlplane.model.label import Label, LabelLedger
from controlplane.vpn.labels import LabelAllocator, LabelsExhaustedError


class IntentRefusedError(Exception):
    """The intent contradicts itself or asks for more than there is; nothing was changed."""


class VrfPlan(msgspec.Struct, frozen=True):
    """The label of every VRF, and the ledger once they are given out."""

    labels: dict[str, Label]
    ledger: LabelLedger


def plan_vrfs(
    intent: NodeIntent, ledger: LabelLedger, now: BootTime, in_use: Mapping[str, int],
    foreign: Collection[int] = (),
) -> VrfPlan:  # fmt: skip
    """Give out labels on a copy of the ledger; IntentRefusedError if that cannot be done.

    ``in_use`` are the tables of the present VRFs, ``foreign`` labels that another program has. Two
    VRFs with one name, RD or kernel table would be one VPN to their peers or to the kernel.
    """
    _refuse_twins("VRF name", ((v.name, v.name) for v in intent.vrfs))
    _refuse_twins("route distinguisher", ((v.name, v.rd) for v in intent.vrfs))
    _refuse_twins("session", ((p.peer, p.peer) for p in intent.all_peers))
    tried, given = ledger.copy(), [v.table for v in intent.vrfs if v.table]
    avoid = {*given, *(label for label in foreign if label in intent.label_block)}
    allocator = LabelAllocator(intent.label_block, intent.label_hold_down, tried, avoid)
    try:
        labels = allocator.assign((v.name for v in intent.vrfs), now)
    except LabelsExhaustedError as error:
        raise IntentRefusedError(str(error)) from error
    tables = {v.name: v.table or int(labels[v.name]) for v in intent.vrfs}
    _refuse_twins("table", tables.items())
    _refuse_handover(tables, in_use)
    return VrfPlan(labels, tried)


def _refuse_handover(tables: Mapping[str, int], in_use: Mapping[str, int]) -> None:
    """Refuse a table that another VRF has until now: its routes are still in it when the ports of
    its next owner open, and would carry one VPN's packets into another."""
    owners = {table: name for name, table in in_use.items()}
    for name, table in tables.items():
        if (owner := owners.get(table, name)) != name:
            raise IntentRefusedError(
                f"table {table} of {name} is that of {owner} until now;"
                f" remove {owner} or give it another table, and reload, before {name} takes it"
            )


def _refuse_twins(what: str, named: Iterable[tuple[object, Hashable]]) -> None:
    first: dict[Hashable, object] = {}
    for name, value in named:
        if value in first:
            raise IntentRefusedError(f"{what} {value} of {name} is also that of {first[value]}")
        first[value] = name
