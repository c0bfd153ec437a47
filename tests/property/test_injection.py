"""MGMT-5: a name is a name. Any text in its place is refused, or gets into the ruleset as one word
in the place of another and nothing more."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import assume, example, given
from hypothesis import strategies as st

from controlplane.model.desired import Desired
from controlplane.model.events import IntentChanged
from controlplane.model.instant import BootTime, Instant
from controlplane.router import Router
from pe.config import ConfigErrors
from pe.config.reader import parse_config
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.nft.diff import transaction
from pe.nft.text import text as listed
from tests.turns import decide

PLACES = ("vrf", "port", "core", "vrf-text", "port-text", "neighbour-text", "workload", "tag",
          "value")  # fmt: skip
BENIGN = {"vrf": "vred", "port": "pone", "core": "core0", "vrf-text": "some words",
          "port-text": "others", "neighbour-text": "more", "workload": "web1", "tag": "tier",
          "value": "web"}  # fmt: skip
PIECES = st.sampled_from([
    '"', "'", ";", "\n", "\r", "}", "{", " drop", "accept", "\\", "#", "$(id)", "`", "\0", "é",
    "\u202e", "/", "..", "-", "_", ".", "a", "0", "lo", "\t", ",", "@", "flush ruleset", "%", ":",
    "add table x",
])  # fmt: skip
START = Instant(0.0, 0.0, BootTime("test", 0.0))
TEXTS = st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=6).map("".join))


def document(words: dict[str, str]) -> str:
    """A configuration with these words in the places of names and texts, properly quoted."""
    w = {place: json.dumps(word) for place, word in words.items()}
    return f"""\
asn: 65000
loopback: 10.255.0.1
core-ports: {{{w["core"]}: {{}}}}
vrfs:
  {w["vrf"]}:
    rd: 65000:1
    route-target: 65000:1
    description: {w["vrf-text"]}
    limits: {{conntrack: 10}}
    ports:
      {w["port"]}: {{addresses: [10.1.1.1/24], description: {w["port-text"]}}}
    neighbors:
      10.1.1.2: {{asn: 65001, import: [10.2.0.0/16], description: {w["neighbour-text"]}}}
    workloads:
      {w["workload"]}:
        {{port: {w["port"]}, addresses: [10.1.1.7], tags: {{{w["tag"]}: {w["value"]}}}}}
"""


def loaded(words: dict[str, str]) -> str:
    """The whole ruleset as text. Raises ConfigErrors."""
    intent = parse_config(document(words), "pe.yaml", Path("/nonexistent")).intent
    desired = Desired()
    desired.apply(decide(Router(), [IntentChanged(intent)], START).delta)
    scope = RenderContext(desired, {words["port"], words["core"], "lo"})
    return listed(transaction({}, ruleset(scope)))


def skeleton(text: str) -> list[str]:
    """The lines without the words in them, which are quoted or are words to nft."""
    words = r'"[^"\n]*"|[A-Za-z0-9_][A-Za-z0-9._-]*'
    lines = (re.sub(words, "w", line) for line in text.split("\n"))
    # What stands in an anonymous set, and lines, come in the order of the words.
    return sorted("".join(sorted(line)) for line in lines)


EXPECTED = skeleton(loaded(BENIGN))


@given(st.sampled_from(PLACES), TEXTS)
@example("vrf", 'r"; flush ruleset; #')
@example("port", 'p" drop')
@example("vrf", "red\nadd rule")
@example("port", "a.b-c")
@example("vrf-text", '"; drop')
def test_mgmt_05_a_name_is_one_word(place: str, text: str) -> None:
    words = {**BENIGN, place: text}
    assume(len({words["vrf"], words["port"], words["core"]}) == 3)
    try:
        given_to_nft = loaded(words)
    except ConfigErrors:
        return
    assert skeleton(given_to_nft) == EXPECTED
