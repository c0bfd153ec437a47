"""Print the help of commands with whole sentences and their exit codes."""

from __future__ import annotations

from typing import Any

import click

LOCAL_EXIT_CODES = """\b
Exit codes: 0 success; 1 failure; 2 usage error."""
"""Of a command that asks no node."""

EXIT_CODES = """\b
Exit codes: 0 success; 1 failure; 2 usage error; 3 the node does not answer;
4 permission denied."""
"""Of a command that asks a node."""


class Command(click.Command):
    """A command of a group that asks a node, unless ``epilog`` says otherwise."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("epilog", EXIT_CODES)
        super().__init__(*args, **options)


class LocalCommand(click.Command):
    """A command of a group that asks no node."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("epilog", LOCAL_EXIT_CODES)
        super().__init__(*args, **options)


class Group(click.Group):
    """A group that lists its commands with the first sentence of each, wrapped: click itself cuts
    a sentence that is longer than a line."""

    command_class: type[click.Command] = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("epilog", EXIT_CODES)
        super().__init__(*args, **options)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one entry for each command."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        longest = formatter.width * 10
        rows = [(n, c.get_short_help_str(longest)) for n, c in commands if c and not c.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class LocalGroup(Group):
    """A group whose commands ask no node."""

    command_class = LocalCommand

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("epilog", LOCAL_EXIT_CODES)
        super().__init__(*args, **options)
