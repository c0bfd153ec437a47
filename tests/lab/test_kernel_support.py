"""What a kernel can do is asked without a change to it."""

from __future__ import annotations

import subprocess

import pytest

from pe.cli import kernel_support

LISTS = ("ip -details link", "ip route show table all", "ip nexthop", "nft list ruleset")


def listed() -> list[str]:
    return [subprocess.check_output(words.split(), text=True) for words in LISTS]


def test_the_lab_kernel_lacks_nothing_and_is_as_before() -> None:
    before = listed()
    assert [*kernel_support.missing()] == []
    assert listed() == before


@pytest.mark.parametrize("kind", ["nosuch"])
def test_a_kind_of_device_that_it_has_not(kind: str) -> None:
    assert kernel_support.has_device_kind("vrf"), "the control"
    assert not kernel_support.has_device_kind(kind)


def test_an_encapsulation_and_a_subsystem_that_it_has_not() -> None:
    assert kernel_support.has_encapsulation(1), "the control"
    assert not kernel_support.has_encapsulation(99)
    assert kernel_support.has_netfilter(10), "the control"
    assert not kernel_support.has_netfilter(63)
