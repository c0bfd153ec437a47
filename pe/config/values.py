"""Define the types of single values in pe.yaml: how each is read, and the cure if it is invalid.

Every value arrives as text (see ``document``) and leaves typed. A parser raises ValueError with
the problem; the cure stands beside it here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv6Address,
    NetmaskValueError,
    ip_interface,
)
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from controlplane.model.intent import ApiRole, IPInterface
from controlplane.model.label import LabelBlock, parse_block
from controlplane.model.prefix import Family, IPAddress, Prefix, parse_address, parse_prefix
from controlplane.model.rd import (
    RouteDistinguisher,
    RouteTarget,
    SiteOfOrigin,
    parse_rd,
    parse_rt,
    parse_soo,
)

T = TypeVar("T")


def fault(problem: str, cure: str = "") -> PydanticCustomError:
    """Return an error for pydantic that carries its own cure."""
    return PydanticCustomError("fault", "{problem}", {"problem": problem, "cure": cure})


def scalar(parse: Callable[[str], T], cure: str) -> PlainValidator:
    """Return a validator that reads one piece of text with ``parse``."""

    def read(value: Any) -> T:
        if value is None or value == "":
            raise fault("has no value", f"write {cure}, or remove the key")
        if not isinstance(value, str):
            raise fault("must be one value, not a list or a section", f"write {cure}")
        try:
            return parse(value)
        except ValueError as error:
            raise fault(str(error), f"write {cure}") from None

    return PlainValidator(read)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of decimal numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text):
            raise ValueError(f"'{text}' is not a whole number")
        if not low <= int(text) <= high:
            raise ValueError(f"{text} is out of range")
        return int(text)

    return parse


def number(low: int, high: int, unit: str = "") -> PlainValidator:
    """Return a validator for ``whole_number``, with its cure."""
    suffix = f" ({unit})" if unit else ""
    return scalar(whole_number(low, high), f"a number from {low} to {high}{suffix}")


def _asn(text: str) -> int:
    high, dot, low = text.partition(".")  # RFC 5396: asplain, or asdot
    if not dot:
        return whole_number(1, 4294967294)(text)
    value = (whole_number(0, 65535)(high) << 16) + whole_number(0, 65535)(low)
    if value in (0, 4294967295):
        raise ValueError(f"AS {text} is reserved (RFC 7607, RFC 7300)")
    return value


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.removesuffix("/32"))
    except AddressValueError:
        raise ValueError(f"'{text}' is not an IPv4 address") from None


def _ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text.removesuffix("/128"))
    except AddressValueError:
        raise ValueError(f"'{text}' is not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError(f"'{text}' names a zone")
    return address


def _address(text: str) -> IPAddress:
    if "%" in text:
        raise ValueError(f"'{text}' names a zone")
    try:
        return parse_address(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address") from None


def _key(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Check a key and keep its text: the text is the way to its place in the file."""

    def check(text: str) -> str:
        parse(text)
        return text

    return check


def _interface(text: str) -> IPInterface:
    if "/" not in text:
        raise ValueError(f"'{text}' has no prefix length")
    try:
        interface: IPInterface = ip_interface(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise ValueError(f"'{text}' is not an address with a prefix length") from None
    _check_host(interface, text)
    return interface


def _check_host(interface: IPInterface, text: str) -> None:
    net = interface.network
    if "%" in text or interface.is_multicast or interface.is_unspecified:
        raise ValueError(f"'{text}' cannot be the address of a port")
    small = interface.max_prefixlen - net.prefixlen < 2
    if not small and interface.version == 4 and interface.ip in (net[0], net[-1]):
        raise ValueError(f"'{text}' is the network or broadcast address of {net}")


def _name(pattern: str, taken: frozenset[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is not a name that a Linux device can have here")
        if text in taken:
            raise ValueError(f"'{text}' is a name of the system's own")
        return text

    return parse


_WORKLOAD_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_SYSTEM_NAMES = frozenset({"lo", "all", "default", "bulkhead-void"})
# What Linux takes and no command line, nft or YAML reads as something else.
_DEVICE = r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}"
_PORT = _name(_DEVICE, _SYSTEM_NAMES)
_VRF = _name(_DEVICE, _SYSTEM_NAMES | {"main", "local", "core"})


def _workload_name(text: str) -> str:
    if not _WORKLOAD_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a workload's name")
    return text


def _node_name(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}", text):
        raise ValueError(f"{text!r} is not a host name")
    return text


def _flag(text: str) -> bool:
    if text.lower() in ("true", "yes", "on"):
        return True
    if text.lower() in ("false", "no", "off"):
        return False
    raise ValueError(f"'{text}' is neither true nor false")


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?o?[0-7]{3}", text):
        raise ValueError(f"'{text}' is not a file mode")
    value = int(text[-3:], 8)
    if value & 0o007:
        raise ValueError(f"mode {text} lets every user of the machine in")
    return value


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\0" in text or len(text) > 4000:
        raise ValueError(f"'{text}' is not an absolute path")
    return text.rstrip("/") or "/"


def _socket_path(text: str) -> str:
    if len(_absolute(text).encode()) > 100:
        raise ValueError("the path is too long for a socket (at most 100 bytes)")
    return _absolute(text)


def _plain(limit: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) > limit or not text.isprintable():
            raise ValueError(f"at most {limit} printable characters, on one line")
        return text

    return parse


def check_md5(text: str) -> str:
    """Return a TCP MD5 key (RFC 2385): what the kernel takes and any router can be given."""
    if not 1 <= len(text) <= 80:
        raise ValueError(f"an MD5 key has 1 to 80 characters, this one {len(text)}")
    if not re.fullmatch(r"[!-~]+", text) or any(mark in text for mark in "\"'\\;{}#[]"):
        raise ValueError("the MD5 key has characters that not every router takes")
    return text


def _choice(options: dict[str, T]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        if text not in options:
            raise ValueError(f"'{text}' is not known here")
        return options[text]

    return parse


def choice(options: dict[str, T]) -> PlainValidator:
    """Return a validator for one word of a few."""
    words = list(options)
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    return scalar(_choice(options), listed)


def _one_or_many(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


VPN_FAMILIES = {"vpnv4": Family.IPV4_VPN, "vpnv6": Family.IPV6_VPN}
CE_FAMILIES = {"ipv4": Family.IPV4_UNICAST, "ipv6": Family.IPV6_UNICAST}
_ROLES = {role.value: role for role in ApiRole}
_LEVELS = {level: level for level in ("debug", "info", "warning", "error")}
_RT_CURE = "ASN:NUMBER or A.B.C.D:NUMBER, such as 65000:1"
_NAME_CURE = "a letter or digit, then up to 14 letters, digits, '-', '_' or '.'"
_PORT_CURE = f"the name of a device: {_NAME_CURE}"
_VRF_CURE = _NAME_CURE

OneOrMany = BeforeValidator(_one_or_many)
Asn = Annotated[int, scalar(_asn, "an AS number from 1 to 4294967294")]
Ipv4 = Annotated[IPv4Address, scalar(_ipv4, "an IPv4 address such as 10.255.0.1")]
Ipv6 = Annotated[IPv6Address, scalar(_ipv6, "an IPv6 address such as 2001:db8::1")]
Address = Annotated[IPAddress, scalar(_address, "an address such as 10.1.1.2 or 2001:db8::2")]
AddressKey = Annotated[str, scalar(_key(_address), "the neighbour's address as the key")]
Interface = Annotated[IPInterface, scalar(_interface, "ADDRESS/LENGTH, such as 10.1.1.1/30")]
PrefixText = Annotated[Prefix, scalar(parse_prefix, "a prefix such as 10.2.0.0/16")]
PortName = Annotated[str, scalar(_PORT, _PORT_CURE)]
VrfName = Annotated[str, scalar(_VRF, _VRF_CURE)]
WorkloadName = Annotated[
    str, scalar(_workload_name, "a lower-case letter, then lower-case letters, digits, _ . -")
]
NodeName = Annotated[str, scalar(_node_name, "a host name such as pe1")]
Rd = Annotated[RouteDistinguisher, scalar(parse_rd, _RT_CURE)]
Rt = Annotated[RouteTarget, scalar(parse_rt, _RT_CURE)]
Soo = Annotated[SiteOfOrigin, scalar(parse_soo, _RT_CURE)]
Block = Annotated[LabelBlock, scalar(parse_block, "FIRST-LAST, such as 24000-31999")]
Flag = Annotated[bool, scalar(_flag, "true or false")]
Mode = Annotated[int, scalar(_mode, "an octal mode without rights for others, such as 0660")]
Folder = Annotated[str, scalar(_absolute, "an absolute path")]
SocketPath = Annotated[str, scalar(_socket_path, "an absolute path of at most 100 bytes")]
FilePath = Annotated[str, scalar(_plain(4000), "the path of a file")]
Description = Annotated[str, scalar(_plain(200), "a line of text")]
Word = Annotated[str, scalar(_plain(253), "one line of text")]
Md5Key = Annotated[str, scalar(check_md5, "letters, digits and - _ . : + / = @ and the like")]
HoldTime = Annotated[
    int, scalar(lambda t: 0 if t == "0" else whole_number(3, 65535)(t), "0 or 3 to 65535 (seconds)")
]
Hops = Annotated[
    int,
    scalar(lambda t: 0 if t == "off" else whole_number(1, 254)(t), "a number of hops, or off"),
]
VpnFamily = Annotated[Family, choice(VPN_FAMILIES)]
CeFamily = Annotated[Family, choice(CE_FAMILIES)]
Role = Annotated[ApiRole, choice(_ROLES)]
LogLevel = Annotated[str, choice(_LEVELS)]
Seconds = Annotated[int, number(0, 86400, "seconds")]
TcpPort = Annotated[int, number(1, 65535)]
Count = Annotated[int, number(0, 4294967295)]
IgpCost = Annotated[int, number(0, 4294967295)]
Mtu = Annotated[int, number(576, 65535, "bytes")]
