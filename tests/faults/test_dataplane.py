"""Every call to the kernel fails once: afterwards the kernel is as desired, and the log says so.

On a kernel of fakes, in a data plane with two VRFs; on a real kernel: ``tests/lab/test_faults.py``.
"""

from __future__ import annotations

import pytest

from tests.faults import virtual_time
from tests.faults.adapters import ERRORS, Fault, calls, case_id, cases
from tests.faults.world import World, built, changed, withdrawn, without_blue

UNFAKED = {
    "sysctl.read",  # returns None for what cannot be read
    "sysctl.write",  # called by DeviceKernel.perform, whose errors are injected
}


def test_every_call_of_an_adapter_has_its_errors() -> None:
    assert calls() == ERRORS.keys()


@pytest.mark.parametrize(
    ("call", "error"), [case for case in cases() if case[0] not in UNFAKED], ids=case_id
)
def test_a_call_that_fails_once(
    call: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual_time.run(story(call, error, monkeypatch))


async def story(call: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.patch(monkeypatch)
    await world.plane.start()
    adapter, _, name = call.partition(".")
    fault = Fault(world.owner(adapter), name, error)
    for step in (build, change, flap, meddle, withdraw, remove):
        fault.arm()
        step(world)
        assert await world.follows(), (step.__name__, world.differences(), world.part.failures)
        fault.disarm()
    await world.plane.stop()
    assert fault.fired, "no step made this call"
    said = {"kernel_refused", "kernel_events_lost"} & {*world.logged} or world.part.failures
    harmless = isinstance(error, OSError) and call.endswith((".create", ".replace", ".remove"))
    assert said or harmless, "nothing was logged"


def build(world: World) -> None:
    world.submit(built())
    world.plane.mark_in_sync()


def change(world: World) -> None:
    world.submit(changed())


def flap(world: World) -> None:
    for up in (False, True, False, True):
        world.carrier("ce-red", up=up)


def meddle(world: World) -> None:
    world.meddle()


def withdraw(world: World) -> None:
    world.submit(withdrawn())


def remove(world: World) -> None:
    world.submit(without_blue())
