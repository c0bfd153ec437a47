"""The reader answers any file with an intent or with ``ConfigErrors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controlplane.model.intent import NodeIntent
from pe.config import ConfigErrors, parse_config
from pe.config.keys import known_keys
from tests.unit.config.text import GOOD

EXAMPLE = (Path(__file__).parents[2] / "labs/examples/pe.yaml").read_text()
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SNIPPETS = st.sampled_from(
    ["\t", "\0", "- ", ": ", "{", "}", "[", "]", "'", '"', "&a ", "*a", "!!x ", "|", ">", "%", "@",
     "\n---\n", "<<: ", "? ", "~", "65000:1", "::", "10.0.0.0/33", "fe80::1%x", "-1", "1e9", "off",
     "\\U00110000", '"\\Uffffffff"', "\u2028", "\x85", "999999999999999999999", "0x10", "é"]
)  # fmt: skip


def attempt(text: str) -> NodeIntent | ConfigErrors:
    try:
        return parse_config(text).intent
    except ConfigErrors as errors:
        found = errors
    assert found.errors
    assert all(error.problem and "\n" not in str(error) for error in found.errors)
    return found


@SLOW
@given(st.text(max_size=200))
@example('"\\Uffffffff"')
@example("[" * 3000)
@example("asn: " + "9" * 5000)
def test_any_text(text: str) -> None:
    attempt(text)


@SLOW
@given(st.data())
def test_a_good_file_with_pieces_cut_out_and_put_in(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([GOOD, EXAMPLE]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        drop = data.draw(st.sampled_from([0, 0, 1, 5, 40]))
        put = data.draw(st.one_of(SNIPPETS, st.text(max_size=5)))
        text = text[:at] + put + text[at + drop :]
    attempt(text)


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.floats(allow_nan=False),
        st.sampled_from(["any", "off", "10.1.1.2", "2001:db8::1", "10.1.1.1/30", "65000:1", "red"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@SLOW
@given(st.dictionaries(st.sampled_from(known_keys(())), VALUES, max_size=8))
def test_known_keys_with_any_values(tree: dict[str, Any]) -> None:
    attempt(yaml.safe_dump({"asn": 65000, "loopback": "10.255.0.1", **tree}, allow_unicode=True))


@SLOW
@given(st.data())
def test_good_sections_with_any_value_in_one_place(data: st.DataObject) -> None:
    tree = yaml.safe_load(GOOD)
    holder: Any = tree
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(holder[key], (dict, list)) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(VALUES)
    attempt(yaml.safe_dump(tree, allow_unicode=True))


def test_the_good_texts_are_good() -> None:
    assert isinstance(attempt(GOOD), NodeIntent)
    assert isinstance(attempt(EXAMPLE), NodeIntent)
