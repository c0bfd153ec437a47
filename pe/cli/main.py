"""Define the ``pe`` command; a subcommand is imported only when it is used."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import click

COMMANDS = {
    "audit": "pe.cli.audit:audit",
    "baseline": "pe.cli.flows:baseline",
    "check": "pe.cli.check:check",
    "clear": "pe.cli.actions:clear",
    "evidence": "pe.cli.explain:evidence",
    "explain": "pe.cli.explain:explain",
    "flows": "pe.cli.flows:flows",
    "group": "pe.cli.group:group",
    "map": "pe.cli.map:flow_map",
    "policy": "pe.cli.policy:policy",
    "reload": "pe.cli.actions:reload",
    "run": "pe.cli.run:run",
    "selftest": "pe.cli.selftest:selftest",
    "show": "pe.cli.show:show",
    "version": "pe.cli.version:version",
    "workload": "pe.cli.workload:workload",
}
"""Command name to ``module:attribute``; importing all of them would cost every start."""

PLUGINS = {"lab": "labs.cli:lab"}
"""Commands of packages that a router's installation does not have; shown where they are found."""


SUMMARIES = {
    "audit": "Check the audit log.",
    "baseline": "Record and list baselines of known good flows.",
    "check": "Check a configuration file.",
    "clear": "Reset a BGP session.",
    "evidence": "Report policy and traffic evidence for the workloads that match a selector.",
    "explain": "Explain which rule allows or denies SERVICE (tcp/443) from SOURCE to DESTINATION.",
    "flows": "Show flows with the enforced and the staged verdict.",
    "group": "Show groups and network sets of the policy, and try selectors.",
    "lab": "Bring up lab networks of namespaces on one machine and run their checks.",
    "map": "Draw the map of flows between groups: text, JSON, DOT, SVG or HTML.",
    "policy": "Check, compare, stage, promote and roll back policy.",
    "reload": "Reload the configuration.",
    "run": "Run the router in the foreground.",
    "selftest": "Run the packet-filter self-test.",
    "show": "Show the state of a node.",
    "version": "Print the version.",
    "workload": "Attach, tag, list and show workloads.",
}
"""The help line of each command, without importing it. A test compares both."""


SECTIONS = {
    "The router": ("run", "check", "reload", "show", "clear", "selftest", "audit"),
    "Microsegmentation": (
        "workload", "group", "policy", "flows", "map", "explain", "baseline", "evidence",
    ),
    "Labs": ("lab",),
}  # fmt: skip
"""Sections of ``pe --help``, in order."""


def available() -> dict[str, str]:
    """Return the commands of this installation, as ``COMMANDS`` has them."""
    found = {n: at for n, at in PLUGINS.items() if find_spec(at.partition(".")[0])}
    return {**COMMANDS, **found}


class LazyGroup(click.Group):
    """Import a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *available()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, importing it if need be, else None."""
        if found := super().get_command(ctx, cmd_name):
            return found
        if cmd_name not in available():
            return None
        module, _, attribute = available()[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from ``SUMMARIES`` by section."""
        named = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for title, names in {**SECTIONS, "Other": others}.items():
            with formatter.section(title):
                formatter.write_dl([(n, SUMMARIES[n]) for n in names if n in available()])


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from pe.cli.version import version

        ctx.invoke(version)
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    *("-V", "--version"), is_flag=True, is_eager=True, expose_value=False,
    callback=_print_version, help="Print the version and exit.",
)  # fmt: skip
def main() -> None:
    """Bulkhead, a software PE router for Linux."""


if __name__ == "__main__":
    main()
