"""Labels that another program of the machine routes: never given out, never announced."""

from __future__ import annotations

from controlplane.model.effects import Announce, Withdraw
from controlplane.model.events import LabelsTaken
from controlplane.model.intent import VrfIntent
from controlplane.model.label import LabelBlock
from tests.unit.controlplane.rig import PE2, Rig, node, static, vrf


def taken(*labels: int, freed: tuple[int, ...] = ()) -> LabelsTaken:
    return LabelsTaken(frozenset(labels), frozenset(freed))


def red(number: int = 1, name: str = "red") -> VrfIntent:
    return vrf(name, number, static_routes=(static("10.5.0.0/16"),))


def announced(rig: Rig) -> set[int]:
    """The labels under which PE2 knows our routes."""
    return {labels[0] for _, _, labels in rig.advertised[PE2].values()}


def test_a_label_that_is_taken_at_start_is_not_given_out() -> None:
    rig = Rig()
    rig.do(taken(16000, 16001))
    rig.reload(node(red()))
    rig.ready()
    assert announced(rig) == {16002}
    assert list(rig.kernel.labels) == [16002]


def test_a_vrf_whose_label_another_program_has_gets_another_one() -> None:
    rig = Rig(red()).ready()
    assert announced(rig) == {16000}
    rig.do(taken(16000))
    assert "label_taken" in rig.notices()
    assert announced(rig) == {16001}
    assert list(rig.kernel.labels) == [16001]
    kinds = [type(a) for a in rig.last.actions if isinstance(a, Announce | Withdraw)]
    assert kinds == [Withdraw, Announce]


def test_other_labels_are_no_news() -> None:
    rig = Rig(red()).ready()
    rig.do(taken(17, 16050, 99999))
    assert rig.is_silent
    rig.reload(node(red(), red(2, "blue")))
    assert {int(label) for label in rig.kernel.labels} == {16000, 16001}


def test_a_label_that_is_free_again_is_given_out() -> None:
    rig = Rig()
    rig.do(taken(16000))
    rig.do(taken(freed=(16000,)))
    rig.reload(node(red()))
    assert list(rig.kernel.labels) == [16000]


def test_where_no_label_is_left_an_event_is_logged() -> None:
    block = LabelBlock(16000, 16001)
    rig = Rig(red(), label_block=block).ready()
    rig.do(taken(16000))
    rig.do(taken(16001))
    assert "intent_refused" in rig.notices()
    assert "label_taken" in rig.notices()
