"""What the help of every command says, and errors in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pe.cli.help import EXIT_CODES, LOCAL_EXIT_CODES
from pe.cli.main import available, main
from pe.cli.policy import policy
from pe.cli.typed_names import by_typed_names, typed_name
from pe.cli.workload import workload


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def helped(*path: str) -> str:
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=100)
    assert result.exit_code == 0
    return result.output


def subcommand(group: click.Group, name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def test_the_help_of_every_command_says_its_exit_codes() -> None:
    paths = list(commands())
    assert len(paths) > 40
    silent = [path for path in paths if "Exit codes: " not in helped(*path)]
    assert silent == []


def test_commands_that_ask_a_node_have_its_exit_codes_and_no_others() -> None:
    wrong = []
    for path in commands():
        found = " ".join(helped(*path).split())
        texts = [" ".join(t.removeprefix("\b").split()) for t in (EXIT_CODES, LOCAL_EXIT_CODES)]
        asks = "--socket" in found
        if asks and texts[0] not in found:
            wrong.append(path)
    assert wrong == []
    assert "3 the node" not in helped("check")
    assert "lab" not in available() or "3 the node" not in helped("lab", "test")


def test_no_help_has_the_formats_of_a_program() -> None:
    found = {path: helped(*path) for path in commands()}
    assert [path for path, text in found.items() if "%Y" in text] == []
    spans = [path for path, text in found.items() if "--since" in text]
    assert len(spans) >= 4
    assert all("2026-11-27" in found[path] for path in spans)


@pytest.mark.parametrize("text", ["yesterday", "27.11.2026", "2026-13-01"])
def test_a_time_that_cannot_be_read_is_answered_with_an_example(text: str) -> None:
    result = CliRunner().invoke(main, ["flows", "--since", text])
    assert result.exit_code == 2
    assert '2026-11-27 or "2026-11-27 09:30"' in " ".join(result.output.split())
    assert "%" not in result.output


@pytest.mark.parametrize("text", ["2026-11-27", "2026-11-27 09:30", "2026-11-27T09:30:05"])
def test_times_that_can_be_read(text: str) -> None:
    result = CliRunner().invoke(main, ["flows", "--since", text, "--socket", "/nowhere/api.sock"])
    assert result.exit_code == 3, "read, and no node is there"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("workload.vrf", "--vrf"),
        ("workload.addresses[1]", "--address"),
        ("workload.tags[env]", "TAGS env"),
        ("workload.name", "NAME"),
        ("selector", ""),
    ],
)
def test_a_field_has_the_name_that_was_typed(field: str, name: str) -> None:
    assert typed_name(field, subcommand(workload, "attach")) == name


def test_fields_with_other_names_on_the_command_line() -> None:
    tag = subcommand(workload, "tag")
    assert typed_name("expected_generation", tag) == "--generation"
    flows = main.get_command(click.Context(main), "flows")
    assert flows is not None
    assert typed_name("filter.source", flows) == "--from"
    assert typed_name("filter.since", flows) == "--since"


def test_only_fields_that_are_to_blame_are_replaced_and_only_at_the_beginning_of_a_line() -> None:
    stage = subcommand(policy, "recommend")
    text = "vrf: there is none\nbaseline: vrf: is not there"
    assert by_typed_names(text, ["vrf"], stage) == (
        "--vrf: there is none\nbaseline: vrf: is not there"
    )
