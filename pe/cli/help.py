"""Print the help of command groups with whole sentences."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group that lists its commands with the first sentence of each, wrapped: click itself cuts
    a sentence that is longer than a line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one entry for each command."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        longest = formatter.width * 10
        rows = [(n, c.get_short_help_str(longest)) for n, c in commands if c and not c.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
