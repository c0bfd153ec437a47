"""One value of $BULKHEAD_SOCKET serves the nodes of several namespaces."""

from pathlib import Path

import pytest
from bulkhead import client


@pytest.fixture
def namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(client, "NAMESPACES", tmp_path)
    (tmp_path / "other").write_text("")
    return tmp_path


def test_the_name_of_the_own_namespace_is_put_in(namespaces: Path) -> None:
    (namespaces / "pe1").symlink_to("/proc/self/ns/net")
    assert client.expand_socket("/run/{netns}/api.sock") == "/run/pe1/api.sock"


def test_without_a_name_the_path_stays(namespaces: Path) -> None:
    assert client.expand_socket("/run/{netns}/api.sock") == "/run/{netns}/api.sock"


def test_a_path_without_the_field_stays(namespaces: Path) -> None:
    assert client.expand_socket("/run/bulkhead/api.sock") == "/run/bulkhead/api.sock"
