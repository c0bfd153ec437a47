"""What a certificate is held against with each call: its own end, and its authority's list."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from controlplane.api.access.revocation import Revocation
from tests.unit.api.certificates import DAY, Authority

GOOD, REVOKED = "", "the certificate is revoked"
UNKNOWN = "whether the certificate is revoked is not known"
HOUR = dt.timedelta(hours=1)


@dataclass
class Desk:
    """An authority, its files, and who asks."""

    folder: Path
    authority: Authority = field(default_factory=Authority)
    reported: list[str] = field(default_factory=list)
    now: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def __post_init__(self) -> None:
        self.client = self.authority.issue("client")
        self.other = self.authority.issue("other")
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        self.asked = Revocation(
            self.folder / "crl.pem", self.folder / "ca.pem", self.reported.append, lambda: self.now
        )

    def put(self, crl: bytes) -> None:
        """Replace the list as a careful administrator does."""
        fresh = self.folder / "fresh"
        fresh.write_bytes(crl)
        fresh.replace(self.folder / "crl.pem")

    def says(self) -> str:
        return self.asked.objection(self.client.certificate)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_listed_certificate_is_refused_and_no_other(desk: Desk) -> None:
    desk.put(desk.authority.revoke(desk.other))
    assert desk.says() == GOOD
    assert desk.asked.objection(desk.other.certificate) == REVOKED
    assert desk.reported == []


def test_a_list_that_is_replaced_holds_from_the_next_call_on(desk: Desk) -> None:
    desk.put(desk.authority.revoke())
    assert desk.says() == GOOD
    desk.put(desk.authority.revoke(desk.client))
    assert desk.says() == REVOKED
    desk.put(desk.authority.revoke())
    assert desk.says() == GOOD


def test_without_a_list_file_only_the_end_counts(desk: Desk) -> None:
    desk.asked.crl = None
    assert desk.says() == GOOD
    desk.now += 2 * DAY
    assert desk.says() == "the certificate has expired"


INDIRECT = x509.IssuingDistributionPoint(
    full_name=None, relative_name=None, only_contains_user_certs=False,
    only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=True,
    only_contains_attribute_certs=False,
)  # fmt: skip


def crl_of_another_with_our_name() -> bytes:
    return Authority().revoke()


@pytest.mark.parametrize("kind", ["forged", "rubbish", "empty", "indirect", "half", "missing"])
def test_an_unusable_list_refuses_every_certificate_and_is_logged(desk: Desk, kind: str) -> None:
    good = desk.authority.revoke()
    bad = {
        "forged": crl_of_another_with_our_name(),
        "rubbish": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        "empty": b"",
        "indirect": desk.authority.revoke(extension=INDIRECT),
        "half": good[: len(good) // 2],
        "missing": None,
    }[kind]
    desk.put(good)
    assert desk.says() == GOOD
    if bad is None:
        (desk.folder / "crl.pem").unlink()
    else:
        desk.put(bad)
    assert [desk.says() for _ in range(3)] == [UNKNOWN] * 3
    assert len(desk.reported) == 1
    assert "crl.pem" in desk.reported[0]
    desk.put(desk.authority.revoke(desk.other))
    assert desk.says() == GOOD
    assert desk.reported[1:] == ["CN=test CA: its revocation list is usable again"]


def test_a_list_holds_from_its_beginning_to_its_end(desk: Desk) -> None:
    desk.put(desk.authority.revoke(since=-HOUR, until=HOUR))
    assert desk.says() == GOOD
    desk.now += 2 * HOUR
    assert desk.says() == UNKNOWN
    assert "out of date" in desk.reported[-1]
    desk.now -= 4 * HOUR
    assert desk.says() == UNKNOWN
    assert "of the future" in desk.reported[-1]


def test_each_authority_has_its_own_list(desk: Desk) -> None:
    second = Authority("second CA")
    theirs = second.issue("client")
    (desk.folder / "ca.pem").write_bytes(desk.authority.pem + second.pem)
    desk.put(desk.authority.revoke())
    assert desk.says() == GOOD
    missing = "the certificate's issuer has no revocation list"
    assert desk.asked.objection(theirs.certificate) == missing
    desk.put(desk.authority.revoke() + second.revoke(theirs, until=HOUR))
    assert desk.asked.objection(theirs.certificate) == REVOKED
    desk.now += 2 * HOUR
    assert desk.asked.objection(theirs.certificate) == UNKNOWN
    assert desk.says() == GOOD, "one authority's neglect is not another's"


def test_an_authority_that_is_replaced_takes_its_list_with_it(desk: Desk) -> None:
    desk.put(desk.authority.revoke())
    assert desk.says() == GOOD
    (desk.folder / "ca.pem").write_bytes(Authority("next CA").pem)
    assert desk.says() == UNKNOWN


def test_a_list_in_a_folder_that_is_not_ours_to_read(desk: Desk) -> None:
    desk.put(desk.authority.revoke())
    desk.asked.crl = desk.folder / "ca.pem" / "crl.pem"
    assert desk.says() == UNKNOWN
    assert os.strerror(20) in desk.reported[0]


def test_what_is_no_certificate() -> None:
    asked = Revocation(None, Path(), print)
    assert asked.objection(b"") == "the certificate cannot be read"
