"""What lies in tests/lab and tests/attack is marked ``lab`` and needs the lab kernel."""

import os
from functools import cache

import pytest
from hypothesis import settings

from labs.kernel import choice

LAB_FOLDERS = ("lab", "attack")

# What a gate says must not depend on the draw: there the cases are always the same. `make fuzz`,
# and every run by hand, draws new ones.
settings.register_profile("gate", derandomize=True)
if os.environ.get("CI") and not os.environ.get("FRESH_INPUTS"):
    settings.load_profile("gate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if set(item.path.parts) & set(LAB_FOLDERS):
            item.add_marker(pytest.mark.lab)


@cache
def _lacking() -> str | None:
    here = choice.choose()
    return None if here.kind is choice.Kind.HOST else here.reason


def pytest_runtest_setup(item: pytest.Item) -> None:
    # A failure, not a skip: a run that leaves them out must not look like a success.
    if item.get_closest_marker("lab") and (reason := _lacking()):
        pytest.fail(f"needs the lab kernel ({reason}): `make test`, or `make lab-tests`", False)
