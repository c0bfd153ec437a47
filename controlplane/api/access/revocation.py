"""Certificates that are not to be believed any more: revoked, or run out on an open connection.

TLS looks at a certificate once, when a connection begins, and gRPC for Python gives OpenSSL no
revocation list. So each call's certificate is held against the list here. A list that cannot be
read, that no authority of ours signed, or that is past its next update says nothing about
anybody: whom that authority certified is not served (RFC 5280 section 6.3; security requirement
MGMT-2).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

LARGEST_BYTES = 32 << 20
"""Of the file of lists: some hundred thousand entries."""

_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\s*", re.DOTALL)
_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


class UnusableListError(Exception):
    """A revocation list that nothing can be concluded from; the message says why."""


@dataclass(frozen=True, slots=True)
class _List:
    """One authority's list. Times are UTC."""

    revoked: frozenset[int]
    since: dt.datetime
    until: dt.datetime


_Lists: TypeAlias = Mapping[x509.Name, _List]


@dataclass(slots=True)
class Revocation:
    """The list file of one listener ("" for ``crl``: none), and the authorities that sign it.

    The files are looked at with each call and read again when they change. ``report`` receives
    each fault of the files once, and its end. ``clock`` gives the time in UTC.
    """

    crl: Path | None
    authorities: Path
    report: Callable[[str], None]
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    _stamp: _Stamp | None = None
    _lists: _Lists = field(default_factory=dict)
    _fault: str = ""
    _reported: dict[x509.Name, str] = field(default_factory=dict)

    def objection(self, pem: bytes) -> str:
        """Return why this certificate (PEM) is not believed now; "" if it is."""
        now = self.clock()
        try:
            certificate = _certificate(pem)
        except ValueError:
            return "the certificate cannot be read"
        if now >= certificate.not_valid_after_utc:
            return "the certificate has expired"
        if self.crl is None:
            return ""
        try:
            self._refresh()
            found = self._answer(certificate, now)
        except UnusableListError as error:
            self._report(certificate.issuer, f"whom it certified is not served: {error}")
            return "whether the certificate is revoked is not known"
        self._report(certificate.issuer, "")
        return found

    def _answer(self, certificate: x509.Certificate, now: dt.datetime) -> str:
        listed = self._lists.get(certificate.issuer)
        if listed is None:
            return "the certificate's issuer has no revocation list"
        if now >= listed.until:
            raise UnusableListError(f"{self.crl}: out of date since {listed.until:%F %T} UTC")
        if now < listed.since:
            raise UnusableListError(f"{self.crl}: of the future, from {listed.since:%F %T} UTC")
        return "the certificate is revoked" if certificate.serial_number in listed.revoked else ""

    def _report(self, issuer: x509.Name, fault: str) -> None:
        """Report a fault of an authority's list, or its end, once. Only authorities that TLS
        accepts get here: there are few of them to remember."""
        if fault != self._reported.get(issuer, ""):
            name = issuer.rfc4514_string()
            self.report(f"{name}: {fault or 'its revocation list is usable again'}")
            self._reported[issuer] = fault

    def _refresh(self) -> None:
        """Read the files if they are not what they were. Raises UnusableListError."""
        assert self.crl is not None  # noqa: S101 - asked before
        try:
            stamp = _look((self.crl, self.authorities))
            if stamp != self._stamp:
                self._stamp, self._fault = stamp, ""
                self._lists = _read(self.crl, self.authorities)
        except OSError as error:
            self._stamp = None
            raise UnusableListError(f"{error.filename}: {error.strerror}") from None
        except UnusableListError as error:
            self._fault = str(error)
        if self._fault:
            raise UnusableListError(self._fault)


def _look(paths: Iterable[Path]) -> _Stamp:
    found = (path.stat() for path in paths)
    return tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in found)


@lru_cache(maxsize=256)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def _read(crl: Path, authorities: Path) -> _Lists:
    """Return the lists of a file, by issuer. Raises UnusableListError, OSError."""
    if crl.stat().st_size > LARGEST_BYTES:
        raise UnusableListError(f"{crl}: over {LARGEST_BYTES >> 20} MiB")
    signers = _signers(authorities)
    lists: dict[x509.Name, _List] = {}
    for block in _BLOCK.findall(crl.read_bytes()):
        try:
            found = x509.load_pem_x509_crl(block)
            lists[found.issuer] = _checked(found, signers)
        except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise UnusableListError(f"{crl}: {error}") from None
    if not lists:
        raise UnusableListError(f"{crl}: holds no revocation list in PEM")
    return lists


def _signers(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise UnusableListError(f"{path}: {error}") from None


def _checked(crl: x509.CertificateRevocationList, signers: Iterable[x509.Certificate]) -> _List:
    """Return a whole list, signed by one of ours, as what is needed of it. Raises ValueError."""
    critical = [extension.oid.dotted_string for extension in crl.extensions if extension.critical]
    if critical:  # a part of a list, a delta, or another issuer's list: RFC 5280 section 5.2
        raise ValueError(f"critical extension {critical[0]}: give one complete list an authority")
    if crl.next_update_utc is None:
        raise ValueError("it has no next update: give a list that says how long it is valid")
    if not any(_signed(crl, signer) for signer in signers if signer.subject == crl.issuer):
        issuer = crl.issuer.rfc4514_string()
        raise ValueError(f"not signed by an authority of client-ca: {issuer}")
    return _List(frozenset(_serials(crl)), crl.last_update_utc, crl.next_update_utc)


def _signed(crl: x509.CertificateRevocationList, signer: x509.Certificate) -> bool:
    try:
        usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass  # then the key is for everything
    try:
        return crl.is_signature_valid(signer.public_key())  # type: ignore[arg-type]  # see below
    except (InvalidSignature, UnsupportedAlgorithm, TypeError):  # TypeError: a key that only agrees
        return False


def _serials(crl: x509.CertificateRevocationList) -> Iterator[int]:
    for entry in crl:
        if any(extension.critical for extension in entry.extensions):
            raise ValueError(f"entry {entry.serial_number:x} has a critical extension")
        yield entry.serial_number
