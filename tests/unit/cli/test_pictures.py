"""Test the picture of the map: no two items overlap, for any map."""

# ruff: noqa: S311 - seeded maps, not secrets

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from random import Random
from xml.etree import ElementTree

import pytest
from bulkhead.v1 import flows_pb2 as pb

from pe.draw.dot import dot
from pe.draw.layout import BOX_WIDTH
from pe.draw.page import page
from pe.draw.picture import picture
from pe.draw.routes import CHARACTER

SVG = "{http://www.w3.org/2000/svg}"
SERVICES = ("tcp/443", "tcp/8000-8100", "udp/53", "icmp/echo-request", "gre")


@dataclass(frozen=True)
class Area:
    """A rectangle, and what it is."""

    left: float
    top: float
    right: float
    bottom: float
    what: str

    def touches(self, other: Area) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


def company(seed: int) -> pb.GetMapResponse:
    """Up to 20 boxes in two VRFs, loops and arrows to themselves among them."""
    rng, made = Random(seed), pb.GetMapResponse()
    for vrf in ("red", "blue"):
        names = [f"{vrf}-{n}" for n in range(rng.randint(1, 20))]
        for name in names:
            mode = rng.choice(("visibility", "selective", "full"))
            made.nodes.add(vrf=vrf, name=name, kind=rng.randint(1, 4), members=2, mode=mode)
        for pair in {(rng.choice(names), rng.choice(names)) for _ in range(3 * len(names))}:
            edge = made.edges.add(vrf=vrf, source=pair[0], destination=pair[1])
            edge.services.extend(rng.sample(SERVICES, rng.randint(1, 5)))
            edge.allowed, edge.denied = rng.choice(((7, 0), (0, 3), (5, 5000)))
            edge.count = edge.allowed + edge.denied
    return made


def areas(svg: str) -> tuple[list[Area], list[Area]]:
    """Boxes of groups, and what arrows say."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes, says = [], []
    for each in root.iter(SVG + "rect"):
        if not each.get("class", "").startswith("box"):
            continue
        x, y, wide, high = (float(each.attrib[k]) for k in ("x", "y", "width", "height"))
        if wide == BOX_WIDTH:  # others are the legend's
            boxes.append(Area(x, y, x + wide, y + high, "box"))
    for each in root.iter(SVG + "text"):
        if each.get("class") == "says":
            x, y, text = float(each.attrib["x"]), float(each.attrib["y"]), each.text or ""
            wide = len(text) * CHARACTER
            left = x - wide if each.get("text-anchor") == "end" else x
            says.append(Area(left, y - 9, left + wide, y + 2, text))
    for area in (*boxes, *says):
        assert area.left >= 0, area
        assert area.right <= width, area
        assert area.bottom <= height, area
    return boxes, says


@pytest.mark.parametrize("seed", range(40))
def test_no_box_and_no_word_lies_on_another(seed: int) -> None:
    answer = company(seed)
    boxes, says = areas(picture(answer))
    assert (len(boxes), len(says)) == (len(answer.nodes), len(answer.edges))
    for one, other in itertools.combinations((*boxes, *says), 2):
        assert not one.touches(other), (one, other)


@pytest.mark.parametrize("seed", range(40))
def test_every_arrow_begins_and_ends_at_a_box_of_its_own_place(seed: int) -> None:
    svg = picture(company(seed))
    boxes, _ = areas(svg)
    sides = [(side, box) for box in boxes for side in (box.left, box.right)]
    ends = []
    for path in re.findall(r'class="arrow" d="([^"]+)"', svg):
        x1, y1, *_, y2, x2 = (float(number) for number in re.findall(r"-?[\d.]+", path))
        for x, y in ((x1, y1), (x2, y2)):
            assert any(abs(x - side) < 1 and box.top < y < box.bottom for side, box in sides)
            ends.append((round(x), round(y)))
    assert len(set(ends)) == len(ends), "two arrows share a slot"


def test_an_empty_map_is_a_picture_too() -> None:
    empty = pb.GetMapResponse()
    assert picture(empty).startswith("<svg")
    assert dot(empty).startswith("digraph")
    assert "<table>" in page(empty, "pe1")
