"""docs/architecture.md names files that exist, and its table of parts is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from pe.supervisor import PARTS, Response

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"`((?:pe|controlplane|labs|tests|perf|proto|packaging)/[\w/.]*)`")


def test_every_file_that_it_names_exists() -> None:
    named = set(NAMED.findall((ROOT / "docs/architecture.md").read_text()))
    assert len(named) > 40
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_room_is_in_its_table() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = [
        f"{top}/{path.name}"
        for top in ("pe", "controlplane")
        for path in (ROOT / top).iterdir()
        if (path / "__init__.py").exists()
    ]
    assert [room for room in rooms if f"`{room}`" not in text and f"`{room}/" not in text] == []


MEANT = {
    Response.RESYNC: "resync and go on",
    Response.RESTART: "restart the part",
    Response.DROP: "drop and go on",
    Response.END: "end the process",
}


def test_the_table_of_parts_is_the_codes() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    supervision = text.partition("\n## Supervision\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*) \|$", supervision, re.MULTILINE)
    limits = {Response.END: "1"}
    wanted = [
        f"`{part.name}` | {part.owns} | {MEANT[part.response]} | {part.means}"
        f" | {limits.get(part.response) or part.limit or 'none'}"
        for part in PARTS
    ]
    assert rows == wanted
