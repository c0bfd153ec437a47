"""The names in a client certificate, by type, read from the certificate itself.

gRPC gives them as C strings without their type: a name ended at a NUL, and a DNS name could be
written so that it equals another client's URI.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID


class NameKind(enum.Enum):
    """The types of names that can be granted something (RFC 5280 section 4.2.1.6)."""

    URI = "URI"
    ADDRESS = "IP address"
    EMAIL = "e-mail address"
    DNS = "DNS name"
    COMMON = "common name"


CertificateName = tuple[NameKind, str]


class UnusableNamesError(ValueError):
    """The certificate's names cannot be read, or one of them is made to be misread."""


@lru_cache(maxsize=256)
def names_of(pem: bytes) -> tuple[CertificateName, ...]:
    """Return the alternative names of a certificate, or its common names if it has no other
    (RFC 6125 section 6.4.4). Raises UnusableNamesError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = tuple(_alternative(certificate)) or tuple(_common(certificate))
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise UnusableNamesError(f"the certificate's names cannot be read: {error}") from None
    for kind, text in names:
        if not (text.isascii() or kind is NameKind.COMMON) or not text.isprintable():
            raise UnusableNamesError(f"the {kind.value} {text!r} holds a control character")
    return names


def _alternative(certificate: x509.Certificate) -> list[CertificateName]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    found = extension.value
    return [
        *(
            (NameKind.URI, text)
            for text in found.get_values_for_type(x509.UniformResourceIdentifier)
        ),
        *((NameKind.DNS, text) for text in found.get_values_for_type(x509.DNSName)),
        *((NameKind.EMAIL, text) for text in found.get_values_for_type(x509.RFC822Name)),
        *((NameKind.ADDRESS, str(a)) for a in found.get_values_for_type(x509.IPAddress)),
    ]


def _common(certificate: x509.Certificate) -> list[CertificateName]:
    attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [(NameKind.COMMON, str(attribute.value)) for attribute in attributes]


def kinds_of(identity: str) -> frozenset[NameKind]:
    """Return which types of names an identity of the configuration may stand in."""
    return frozenset({_kind(identity), NameKind.COMMON})


def _kind(identity: str) -> NameKind:
    if "://" in identity or identity.startswith("urn:"):
        return NameKind.URI
    try:
        ip_address(identity)
    except ValueError:
        return NameKind.EMAIL if "@" in identity else NameKind.DNS
    return NameKind.ADDRESS
