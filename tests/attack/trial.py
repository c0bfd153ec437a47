"""How an attack is judged: at the victim, in the PE's counters, at the attacker, and against its
control, which is the same frames with the guard off."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from labs.attack.net import Circuit, Net, watching
from labs.attack.port import Port, Tap, token
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard

COPIES = 5
PATIENCE = 3.0
Frames = Callable[[bytes], Sequence[bytes]]
"""From a token to the frames that carry it."""


@dataclass(frozen=True)
class Attack:
    """Frames from a port towards a victim. ``sentinel`` is the circuit whose legitimate packet
    follows them; ``counted`` the port under whose name the PE counts the drops, "" for none."""

    origin: Port
    frames: Frames
    victim: Port
    sentinel: Circuit
    counted: str = ""
    requirement: str = ""
    bystanders: tuple[Port, ...] = field(default=())


def arrives(net: Net, attack: Attack) -> bool:
    """Return the control: at least one of the frames reaches the victim."""
    mark = token()
    with attack.victim.tap() as tap:
        for _ in range(3):
            attack.origin.send(*attack.frames(mark))
            if tap.wait(mark, PATIENCE / 3):
                return True
    return False


def held(net: Net, attack: Attack) -> None:
    """Send the frames ``COPIES`` times: no other port sees one, no answer comes, and the PE counts
    each if ``counted`` demands it."""
    mark = token()
    before = net.dropped(attack.counted, attack.requirement) if attack.counted else 0
    frames = attack.frames(mark)
    with watching(attack.origin, attack.victim, *attack.bystanders) as (own, *others):
        for _ in range(COPIES):
            attack.origin.send(*frames)
        net.sentinel(attack.sentinel)
        assert [tap.count(mark) for tap in others] == [0] * len(others), "it arrived"
        assert replies(own, mark) == [], "the attacker got an answer"
    if attack.counted:
        wanted = before + COPIES * len(frames)
        assert until(lambda: net.dropped(attack.counted, attack.requirement) >= wanted, 2.0), (
            f"{net.dropped(attack.counted, attack.requirement) - before} of {wanted - before}"
            f" counted on {attack.counted}"
        )


def replies(tap: Tap, mark: bytes) -> list[bytes]:
    """Frames that came back with the attack's token in them, ICMP errors that quote it included."""
    return [frame for frame in tap.frames() if mark in frame]


def control(net: Net, attack: Attack, off: Collection[Guard]) -> None:
    """With these guards off the attack succeeds; else its failure would prove nothing."""
    with Switch(net).off(*off):
        assert arrives(net, attack), f"control: without {[g.value for g in off]} nothing arrived"
