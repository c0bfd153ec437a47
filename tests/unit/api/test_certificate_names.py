"""MGMT-10: identities are read from the certificate, by type; control characters refuse it."""

from __future__ import annotations

import pytest

from controlplane.api.access.caller import certified_caller
from controlplane.api.access.certificate_names import NameKind, UnusableNamesError, names_of
from controlplane.model.intent import ApiGrant, ApiRole
from tests.unit.api.certificates import Authority

ADMIN_URI, ADMIN_DNS = "spiffe://example.net/noc", "noc.example.net"
GRANTS = tuple(
    ApiGrant(identity=identity, role=ApiRole.ADMIN)
    for identity in (ADMIN_URI, ADMIN_DNS, "192.0.2.9", "noc@example.net")
)
CA = Authority()


def role(common: str, *alternative: str, types: str = "") -> ApiRole | None:
    """The role that a certificate gets with these names."""
    pair = CA.issue(common, *alternative, types=types)
    return certified_caller(names_of(pair.certificate), GRANTS).role


@pytest.mark.parametrize("name", [ADMIN_URI, ADMIN_DNS, "192.0.2.9"])
def test_each_type_of_name_is_found(name: str) -> None:
    assert role("anyone", name) is ApiRole.ADMIN
    assert role("anyone", "other.example.net", name) is ApiRole.ADMIN


def test_the_common_name_counts_only_where_there_is_no_other() -> None:
    assert role(ADMIN_DNS) is ApiRole.ADMIN
    assert role(ADMIN_DNS, "other.example.net") is None


@pytest.mark.parametrize("name", [ADMIN_URI, ADMIN_DNS])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f"])
@pytest.mark.parametrize("before", ["", "x"])
def test_a_control_character_refuses_the_certificate(
    name: str, character: str, before: str
) -> None:
    """Behind a NUL a name went on that was not read: the certificate was the admin's."""
    kind = "uri" if "://" in name else "dns"
    with pytest.raises(UnusableNamesError, match="control character"):
        role("anyone", f"{before}{name}{character}.attacker.example", types=kind)


@pytest.mark.parametrize("character", ["\0", "\n"])
def test_a_common_name_is_no_exception(character: str) -> None:
    with pytest.raises(UnusableNamesError):
        role(f"{ADMIN_DNS}{character}x")


@pytest.mark.parametrize(
    ("name", "types"),
    [(ADMIN_URI, "dns"), (ADMIN_URI, "email"), (ADMIN_DNS, "uri"), ("192.0.2.9", "dns"),
     ("192.0.2.9", "uri"), ("noc@example.net", "dns")],
)  # fmt: skip
def test_a_name_of_another_type_is_not_the_admins(name: str, types: str) -> None:
    assert role("anyone", name, types=types) is None


def test_what_cannot_be_read_has_no_names() -> None:
    with pytest.raises(UnusableNamesError):
        names_of(b"")


def test_names_are_given_with_their_types() -> None:
    pair = CA.issue("cn", ADMIN_URI, ADMIN_DNS, "192.0.2.9")
    assert set(names_of(pair.certificate)) == {
        (NameKind.URI, ADMIN_URI), (NameKind.DNS, ADMIN_DNS), (NameKind.ADDRESS, "192.0.2.9"),
    }  # fmt: skip
