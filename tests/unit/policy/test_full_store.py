"""A store that takes nothing refuses a change whole, and the node goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from controlplane.api.access.status import StatusError
from controlplane.model.attachment import MembershipChange
from controlplane.model.intent import WorkloadIntent
from controlplane.model.observed import Baseline
from controlplane.model.prefix import parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.revision import Signature
from controlplane.model.workload import RemoteEndpoint, RemoteEndpointsChanged, Workload
from controlplane.policy import controller
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision
from controlplane.store import StoreError
from controlplane.store.database import Database
from controlplane.store.embedded import EmbeddedStore
from controlplane.vpn.plan import IntentRefusedError
from pe.process import clock
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

SIGNED = Signature("ada", 1.0, "")
WEB = parse_prefix("10.0.0.1")
POLICY = Revision.of(parse_policy("groups: {web: {id: 1, selector: tier=web}}"))
OTHER = Revision.of(parse_policy("rules: [deny any to any on tcp/1]"))


class FullStore(EmbeddedStore):
    """A store whose disk may be full, from the ``after``-th write on."""

    full, after = False, 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith(("save_", "forget_")) and self.full:
            if self.after:
                self.after -= 1
                return found
            raise StoreError("state.db: the disk is full; make room")
        return found


def run(folder: Path, story: Callable[[PolicyNode, FullStore], Awaitable[None]]) -> None:
    async def whole() -> None:
        intent = segment_intent(folder)
        store = FullStore(Database(Path(intent.state_dir) / "state.db"))
        pe = PolicyNode(intent, store=store)
        try:
            await pe.begin()
            await story(pe, store)
        finally:
            await pe.stop()
            store.close()

    async def bounded() -> None:
        async with asyncio.timeout(30):  # a node that ended answers no call
            await whole()

    asyncio.run(bounded())


def seen(pe: PolicyNode) -> tuple[object, ...]:
    """The decider, the kernel and the store."""
    state, kept = pe.policy.state, pe.store.load_policy()
    tables = {slot.value: tables.copy() for slot, tables in pe.kernel.held.items()}
    return (
        dict(state.population.attachments), dict(state.population.held_down), state.ledger,
        list(pe.policy.history), dict(pe.policy.baselines), tables, pe.kernel.bindings.copy(),
        kept, list(pe.emitted),
    )  # fmt: skip


CALLS: dict[str, Callable[[PolicyNode], Awaitable[object]]] = {
    "attach": lambda pe: pe.access.attach(
        Workload("new", "red", "p1", (parse_prefix("10.0.0.9"),)), "ada"),
    "tag": lambda pe: pe.access.tag("web", {"state": "bad"}, (), 0, "ada"),
    "detach": lambda pe: pe.access.detach("web", "ada"),
    "stage": lambda pe: pe.access.stage(OTHER, SIGNED),
    "promote": lambda pe: pe.access.promote("", SIGNED),
    "baseline": lambda pe: pe.access.record_baseline(Baseline("may", 0.0, 1.0, "ada", 0)),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_change_that_cannot_be_saved_is_refused_whole(tmp_path: Path, call: str) -> None:
    async def story(pe: PolicyNode, store: FullStore) -> None:
        await pe.access.attach(Workload("web", "red", "p1", (WEB,), {"tier": "web"}), "ada")
        await pe.access.stage(POLICY, SIGNED)
        before = seen(pe)
        store.full = True
        with pytest.raises(StatusError, match="disk is full") as refused:
            await CALLS[call](pe)
        assert refused.value.code is grpc.StatusCode.UNAVAILABLE
        await pe.do()
        assert seen(pe) == before
        store.full = False
        await CALLS[call](pe)  # the control: there is something to refuse
        assert seen(pe) != before

    run(tmp_path, story)


@pytest.mark.parametrize("after", [0, 1])
def test_a_reload_that_cannot_be_saved_is_refused_and_the_node_goes_on(
    tmp_path: Path, after: int
) -> None:
    """Whether the labels fail or, behind them, the configured workloads."""

    async def story(pe: PolicyNode, store: FullStore) -> None:
        web = WorkloadIntent(name="web", port="q1", addresses=(WEB,))
        green = msgspec.structs.replace(
            pe.intent.vrfs[1], name="green", rd=parse_rd("65000:3"), ports=(), workloads=(web,)
        )
        former = pe.intent
        wanted = msgspec.structs.replace(former, vrfs=(*former.vrfs, green))
        store.full, store.after = True, after
        with pytest.raises(IntentRefusedError, match="disk is full"):
            await pe.reload(wanted)
        assert pe.logged("intent_refused")
        assert pe.router.intent is former
        assert set(pe.dataplane.desired.vrfs) == {"red", "blue"}
        assert not pe.policy.state.population.attachments
        store.full = False
        await pe.reload(wanted)
        assert set(pe.dataplane.desired.vrfs) == {"red", "blue", "green"}
        assert store.load_labels() == pe.router.ledger
        assert store.load_policy().attachments.keys() == {"web"}

    run(tmp_path, story)


def test_a_move_to_another_pe_is_noted_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "SAVE_RETRY_SECONDS", 0.01)

    async def story(pe: PolicyNode, store: FullStore) -> None:
        await pe.access.attach(Workload("web", "red", "p1", (WEB,)), "ada")
        store.full = True
        moved = RemoteEndpointsChanged("red", {WEB: RemoteEndpoint(frozenset(), "10.255.0.2", 1)})
        pe.router.state.begin(clock.now())
        pe.policy.remote_endpoints_changed(moved)
        pe.executor.perform(pe.router.state.effects)
        await pe.until(lambda: bool(pe.logged("store_failed")))
        assert pe.policy.history.of("web")[-1].change == "moved"
        assert _changes(store) == ["attached"]
        await pe.until(lambda: bool(pe.policy.failing()))
        assert "history_not_saved" in pe.policy.failing()[0]
        store.full = False
        await pe.until(lambda: _changes(store) == ["attached", "moved"])
        await pe.until(lambda: not pe.policy.failing())
        await pe.access.tag("web", {"tier": "web"}, (), 0, "ada")
        assert _changes(store) == ["attached", "moved", "tagged"], "once each, in order"
        assert len(pe.logged("history_not_saved")) == 1

    run(tmp_path, story)


def _changes(store: FullStore) -> list[str]:
    lines: list[MembershipChange] = store.load_policy().history
    return [line.change for line in lines]
