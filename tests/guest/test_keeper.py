"""A guest in the background: what one command leaves, the next one finds, until it is stopped."""

import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from labs.kernel import choice, keeper
from labs.waiting import until

CHOSEN = choice.choose()
pytestmark = pytest.mark.skipif(CHOSEN.kind is not choice.Kind.UML, reason=CHOSEN.reason)

ASK = "import sys; from labs.kernel import keeper; keeper.run(sys.argv[1], sys.argv[2:])"


@pytest.fixture(scope="module")
def name() -> Iterator[str]:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    keeper.start(name, mem="512M")
    yield name
    keeper.stop(name)


def test_state_stays_between_commands(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert keeper.run(name, ["ip", "netns", "add", "stays"]) == 0
    assert keeper.run(name, ["ip", "netns", "list"]) == 0
    assert capfd.readouterr().out == "stays\n"


def test_status_and_streams(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert keeper.run(name, ["sh", "-c", "echo out; echo err >&2; exit 9"]) == 9
    assert tuple(capfd.readouterr()) == ("out\n", "err\n")


def test_starting_it_again_is_the_same_one(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    keeper.run(name, ["touch", "/run/mark"])
    keeper.start(name)
    assert keeper.run(name, ["ls", "/run/mark"]) == 0
    assert capfd.readouterr().out == "/run/mark\n"


def test_a_command_ends_with_the_one_who_asked_for_it(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    script = "echo begun >/run/begun; exec sleep 1000"
    argv = [sys.executable, "-c", ASK, name, "sh", "-c", script]
    with subprocess.Popen(argv) as asking:
        assert until(lambda: keeper.run(name, ["test", "-e", "/run/begun"]) == 0, 60)
        assert keeper.run(name, ["pidof", "sleep"]) == 0  # the control
        asking.kill()
    assert until(lambda: keeper.run(name, ["pidof", "sleep"]) != 0, 60)
    capfd.readouterr()


def test_stopped_it_is_gone() -> None:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    assert not keeper.stop(name)
    keeper.start(name, mem="512M")
    assert keeper.running(name)
    assert keeper.stop(name)
    assert not keeper.running(name)
