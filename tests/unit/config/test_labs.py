"""The configurations that the labs run are good ones."""

from __future__ import annotations

import pytest

from labs import topologies
from pe.config import parse_config

FILES = [
    (f"{name}-{node.name}", program.files["pe.yaml"])
    for name in topologies.names()
    for node in topologies.load(name).nodes
    for program in node.programs
    if "pe.yaml" in program.files
]


def test_there_are_some() -> None:
    assert len(FILES) >= 2


@pytest.mark.parametrize("text", [text for _, text in FILES], ids=[name for name, _ in FILES])
def test_a_labs_configuration(text: str) -> None:
    parse_config(text.replace("{dir}", "/run/lab"))
