"""The pure parts of the labs: frames, the division of tests, sizes, topologies, keys."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from labs import cli, topologies
from labs.kernel import build, choice, frames, machine
from labs.kernel.guest import INSIDE
from labs.testing import divide
from labs.topology import End, Lab, Link, Node


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_frames_survive_any_chunking(chunk: int) -> None:
    sent = [(frames.STDOUT, 1, b"a" * 300), (frames.STDERR, 2, b""), (frames.EXITED, 1, b"0")]
    stream = b"".join(frames.encode(*frame) for frame in sent)
    decoder = frames.Decoder()
    pieces = [stream[at : at + chunk] for at in range(0, len(stream), chunk)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == sent


def test_modules_are_divided_by_their_last_duration() -> None:
    seconds = {"slow": 60.0, "a": 20.0, "b": 20.0, "c": 20.0}
    parts = divide(["a", "b", "c", "slow"], seconds, 2)
    assert [sorted(part) for part in parts] == [["slow"], ["a", "b", "c"]]


def test_there_are_no_more_parts_than_modules() -> None:
    assert divide(["only"], {}, 4) == [["only"]]


@pytest.mark.parametrize(("text", "size"), [("4G", 4 << 30), ("512m", 512 << 20), ("99", 99)])
def test_sizes(text: str, size: int) -> None:
    assert machine.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "G", "-1", "0", "4 G", "4.5G", "\u0664G"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(ValueError, match="write 4G"):
        machine.parse_size(text)
    found = CliRunner().invoke(cli.lab, ["--mem", text, "list"])
    assert found.exit_code == 2
    assert "write 4G" in found.output


def test_a_lab_that_contradicts_itself_says_all_that_is_wrong() -> None:
    link = Link(End("a", "eth0"), End("absent", "eth0"))
    with pytest.raises(ValueError, match=r"two nodes are called a.*used twice.*absent"):
        Lab("bad", "", (Node("a"), Node("a")), (link, link))


@pytest.mark.parametrize("name", topologies.names())
def test_every_lab_that_comes_with_the_project_loads_and_checks_something(name: str) -> None:
    lab = topologies.load(name)
    assert lab.name == name
    assert lab.checks


def test_a_lab_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from labs.topology import Lab, Node\nLAB = Lab('mine', 't', (Node('x'),))\n")
    assert topologies.load(str(file)).nodes == (Node("x"),)
    with pytest.raises(topologies.UnknownLabError):
        topologies.load(str(tmp_path / "other.py"))


def test_the_kernel_key_changes_with_the_source_and_only_then() -> None:
    one = build.Source("linux-source-6.12", "6.12.1-1")
    assert one.key() == build.Source("linux-source-6.12", "6.12.1-1").key()
    assert one.key() != build.Source("linux-source-6.12", "6.12.2-1").key()


def test_the_choice_obeys_the_override_and_knows_when_it_is_inside() -> None:
    assert choice.choose({choice.OVERRIDE: "qemu"}).kind is choice.Kind.QEMU
    assert choice.choose({choice.OVERRIDE: "uml", INSIDE: "uml"}).kind is choice.Kind.HOST
    with pytest.raises(ValueError, match="hurd"):
        choice.choose({choice.OVERRIDE: "hurd"})
