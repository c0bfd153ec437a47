"""Route distinguishers (RFC 4364 section 4.2) and route targets (RFC 4360 section 4).

Both are printed as any router prints them: ``65000:1``, ``10.0.0.1:1`` or ``4200000000:1``.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address

import msgspec


class AdminKind(enum.IntEnum):
    """How the administrator half is written (the type field of RFC 4364 and RFC 4360)."""

    AS2 = 0
    IPV4 = 1
    AS4 = 2


class RouteDistinguisher(msgspec.Struct, frozen=True, order=True, gc=False):
    """``kind`` is an AdminKind, ``admin`` an ASN or an IPv4 address as a number."""

    kind: int
    admin: int
    number: int

    def __str__(self) -> str:
        return _text(self.kind, self.admin, self.number)


class RouteTarget(msgspec.Struct, frozen=True, order=True, gc=False):
    """A route target extended community (subtype 0x02)."""

    kind: int
    admin: int
    number: int

    def __str__(self) -> str:
        return _text(self.kind, self.admin, self.number)


class SiteOfOrigin(msgspec.Struct, frozen=True, order=True, gc=False):
    """A route origin extended community (subtype 0x03; RFC 4364 section 8)."""

    kind: int
    admin: int
    number: int

    def __str__(self) -> str:
        return _text(self.kind, self.admin, self.number)


@lru_cache(maxsize=65536)
def parse_rd(text: str) -> RouteDistinguisher:
    """Read ``65000:1``, ``10.0.0.1:1`` or ``4200000000:1``; ValueError names the cure."""
    return RouteDistinguisher(*_parts(text, "route distinguisher"))


@lru_cache(maxsize=65536)
def parse_rt(text: str) -> RouteTarget:
    """Read a route target in the forms of ``parse_rd``, with or without ``target:``."""
    return RouteTarget(*_parts(text.removeprefix("target:"), "route target"))


@lru_cache(maxsize=4096)
def parse_soo(text: str) -> SiteOfOrigin:
    """Read a site of origin in the forms of ``parse_rd``, with or without ``origin:``."""
    return SiteOfOrigin(*_parts(text.removeprefix("origin:"), "site of origin"))


def _text(kind: int, admin: int, number: int) -> str:
    shown = str(IPv4Address(admin)) if kind == AdminKind.IPV4 else str(admin)
    # ASN 1 with four octets is not ASN 1 with two: 1L:1 keeps them apart, as routers print it.
    suffix = "L" if kind == AdminKind.AS4 and admin < 65536 else ""
    return f"{shown}{suffix}:{number}"


def _parts(text: str, what: str) -> tuple[int, int, int]:
    admin_text, colon, number_text = text.rpartition(":")
    if not colon or not (number_text.isascii() and number_text.isdigit()):
        raise ValueError(f"'{text}' is not a {what}")
    kind, admin = _admin(admin_text, text, what)
    number, most = int(number_text), 0xFFFFFFFF if kind == AdminKind.AS2 else 0xFFFF
    if number > most:
        raise ValueError(f"'{text}': the number after the colon is at most {most} here")
    return kind, admin, number


def _admin(admin: str, text: str, what: str) -> tuple[AdminKind, int]:
    if "." in admin:
        try:
            return AdminKind.IPV4, int(IPv4Address(admin))
        except AddressValueError:
            raise ValueError(f"'{text}' is not a {what}: {admin} is no IPv4 address") from None
    digits = admin.removesuffix("L")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > 0xFFFFFFFF:
        raise ValueError(f"'{text}' is not a {what}")
    number = int(digits)
    four = number > 0xFFFF or admin.endswith("L")
    return (AdminKind.AS4 if four else AdminKind.AS2), number
