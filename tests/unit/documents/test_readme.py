"""The API example of the README runs as it stands, against a served node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from labs.waiting import until
from tests.unit.api.segment_serving import segment_desk

README = Path(__file__).parents[3] / "README.md"


def example() -> str:
    """Return the example, at the ports and addresses of the served node."""
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, "the README has no example"
    at_the_desk = re.sub(r'"eth\d"', '"p1"', found[1])
    return at_the_desk.replace("10.1.0.", "10.0.0.")


def test_the_api_example_stages_promotes_and_watches(tmp_path: Path) -> None:
    with segment_desk(tmp_path) as desk:
        out = tmp_path / "out"
        env = {**os.environ, "BULKHEAD_SOCKET": str(desk.running.api.socket)}
        with (
            out.open("wb") as sink,
            subprocess.Popen(
                [sys.executable, "-u", "-c", example()], env=env, stdout=sink, stderr=sink
            ) as program,
        ):
            try:
                assert until(lambda: "enforced after" in out.read_text(), 20.0), out.read_text()

                def seen() -> bool:
                    desk.flow("10.0.0.5", "10.0.0.9", 5432)
                    desk.flow("10.0.0.9", "10.0.0.5", 22)
                    return {"allowed", "denied"} <= set(out.read_text().split())

                assert until(seen, 20.0, every=0.2), out.read_text()
            finally:
                program.kill()
    assert "web-1 db-1 tcp/5432 allowed" in out.read_text()
    assert "db-1 web-1 tcp/22 denied" in out.read_text()
