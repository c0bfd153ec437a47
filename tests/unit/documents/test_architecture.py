"""docs/architecture.md says of each part what the code does when it fails."""

from __future__ import annotations

from pathlib import Path

from pe.supervisor import PARTS, PERIOD, Response

PAGE = Path(__file__).resolve().parents[3] / "docs/architecture.md"
SAYS = {
    Response.RESYNC: "resync and go on",
    Response.RESTART: "restart the part",
    Response.DROP: "drop and go on",
    Response.END: "end the process",
}


def test_the_supervision_table_is_the_code_s() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Supervision\n")[2]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in section.partition("\n## ")[0].splitlines()
        if line.startswith("| `")
    ]
    assert rows == [
        (f"`{p.name}`", p.owns, SAYS[p.response], p.means, str(p.limit) if p.limit else "none")
        if p.response is not Response.END
        else (f"`{p.name}`", p.owns, SAYS[p.response], p.means, "1")
        for p in PARTS
    ]
    assert PERIOD == 60.0, "the page says: within a minute"
