"""However configurations exchange what must be unique, turn by turn nothing has two owners, and the
node ends where a fresh start with the last one would."""

from __future__ import annotations

from unittest.mock import patch

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.routing import reload
from tests.property.reload_worlds import REMOTE, Bench, configurations


class ReloadSequences(RuleBasedStateMachine):
    """Each VRF of a change is a portion of its own. Reloads, and what the kernel, the speaker and
    the other PE say, come between any two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = patch.object(reload, "AT_ONCE", 1)
        self.at_once.start()
        self.bench = Bench()
        self.bench.start()
        self.is_settled = False

    @rule(intent=configurations())
    def reload(self, intent: NodeIntent) -> None:
        self.bench.reload(intent)

    @rule(answers=st.integers(0, 3))
    def turn(self, answers: int) -> None:
        self.bench.step(answers=answers)

    @rule()
    def held(self) -> None:
        self.bench.held()

    @rule()
    def report_ports(self) -> None:
        self.bench.report_ports()

    @rule(number=st.integers(0, len(REMOTE) - 1))
    def remote_changes(self, number: int) -> None:
        self.bench.remote_changes(number)

    @rule(seconds=st.sampled_from([1, 200]))
    def wait(self, seconds: int) -> None:
        self.bench.seconds += seconds

    @rule()
    def settle(self) -> None:
        self.bench.settle()
        self.is_settled = True

    @invariant()
    def settled_it_is_where_a_fresh_one_would_be(self) -> None:
        settled, self.is_settled = self.is_settled, False
        bench = self.bench
        if not settled or bench.accepted is None:
            return
        assert bench.router.intent == bench.accepted
        fresh = Bench(bench.router.ledger.copy())
        fresh.seconds, fresh.remote = bench.seconds, bench.remote
        fresh.start()
        with patch.object(reload, "AT_ONCE", 200):
            fresh.reload(bench.accepted)
            fresh.settle()
        kernel = msgspec.structs.replace(bench.kernel, adjacencies={})
        assert kernel == msgspec.structs.replace(fresh.kernel, adjacencies={})
        assert _apart(bench) == _apart(fresh)
        assert bench.told == fresh.told
        assert not bench.router.state.pending

    def teardown(self) -> None:
        try:
            self.settle()
            self.settled_it_is_where_a_fresh_one_would_be()
        finally:
            self.at_once.stop()


def _apart(bench: Bench) -> dict[str, set[PeerIntent]]:
    """Return the sessions of each VRF, whose order is that in which they became ready."""
    return {name: set(peers) for name, peers in bench.sessions.items()}


TestReloadSequences = ReloadSequences.TestCase
TestReloadSequences.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
