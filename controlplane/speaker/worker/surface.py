"""Every name of ExaBGP that the worker touches, and the reason for each.

The worker imports ExaBGP's names from this module only. ``USES`` lists what it replaces, what it
subclasses, what it reads and writes on ExaBGP's objects, and what ExaBGP asks of the objects that
stand in for its own. ``faults`` compares the list with the installed version: the worker runs it
before anything else and refuses to start if an entry is not as expected, and a unit test runs it
in every build.
"""

from __future__ import annotations

from typing import Any

from exabgp.bgp import neighbor as neighbor_module
from exabgp.bgp.fsm import FSM
from exabgp.bgp.message import Message
from exabgp.bgp.message.action import Action
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.notification import Notification, Notify
from exabgp.bgp.message.open import Open, RouterID, Version
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.capability import REFRESH, Capabilities, Capability
from exabgp.bgp.message.open.capability.negotiated import Negotiated
from exabgp.bgp.message.open.capability.nexthop import NextHop as NextHopCapability
from exabgp.bgp.message.open.capability.refresh import RouteRefresh as RefreshCapability
from exabgp.bgp.message.open.holdtime import HoldTime
from exabgp.bgp.message.refresh import RouteRefresh
from exabgp.bgp.message.update import EOR, Update
from exabgp.bgp.message.update.attribute import (
    CONFED_SEQUENCE,
    MED,
    SEQUENCE,
    SET,
    Aggregator,
    ASPath,
    AtomicAggregate,
    Attribute,
    Attributes,
    ClusterID,
    ClusterList,
    LocalPreference,
    NextHop,
    Origin,
    OriginatorID,
)
from exabgp.bgp.message.update.attribute.community import (
    Communities,
    Community,
    ExtendedCommunities,
    ExtendedCommunity,
    LargeCommunities,
    LargeCommunity,
)
from exabgp.bgp.message.update.attribute.generic import GenericAttribute
from exabgp.configuration.configuration import Configuration
from exabgp.environment import getenv
from exabgp.logger import log
from exabgp.protocol.family import AFI, SAFI
from exabgp.reactor import listener as listener_module
from exabgp.reactor import loop as loop_module
from exabgp.reactor import peer as peer_module
from exabgp.reactor import protocol as protocol_module
from exabgp.reactor.listener import Listener
from exabgp.reactor.loop import Reactor
from exabgp.reactor.network import tcp
from exabgp.reactor.network.connection import Connection
from exabgp.reactor.network.error import (
    LostConnection,
    NetworkError,
    NotConnected,
    NotifyError,
)
from exabgp.reactor.network.error import error as socket_errors
from exabgp.reactor.network.outgoing import Outgoing
from exabgp.reactor.network.tcp import GTSM_SENDING_TTL, set_minimum_ttl, set_sending_ttl
from exabgp.reactor.peer import ACTION, Peer
from exabgp.reactor.protocol import Protocol

from controlplane.speaker.worker.surface_check import (
    Asked,
    Assigned,
    Extensible,
    Function,
    Keys,
    Use,
    Value,
)

__all__ = [
    "ACTION",
    "AFI",
    "ASN",
    "CONFED_SEQUENCE",
    "EOR",
    "FSM",
    "GTSM_SENDING_TTL",
    "MED",
    "REFRESH",
    "SAFI",
    "SEQUENCE",
    "SET",
    "ASPath",
    "Action",
    "Aggregator",
    "AtomicAggregate",
    "Attribute",
    "Attributes",
    "Capabilities",
    "Capability",
    "ClusterID",
    "ClusterList",
    "Communities",
    "Community",
    "Configuration",
    "Connection",
    "Direction",
    "ExtendedCommunities",
    "ExtendedCommunity",
    "GenericAttribute",
    "HoldTime",
    "LargeCommunities",
    "LargeCommunity",
    "Listener",
    "LocalPreference",
    "LostConnection",
    "Message",
    "NetworkError",
    "NextHop",
    "NextHopCapability",
    "NotConnected",
    "Notification",
    "Notify",
    "NotifyError",
    "Open",
    "Origin",
    "OriginatorID",
    "Outgoing",
    "Peer",
    "Protocol",
    "Reactor",
    "RefreshCapability",
    "RouteRefresh",
    "RouterID",
    "Update",
    "Version",
    "getenv",
    "listener_module",
    "log",
    "loop_module",
    "neighbor_module",
    "peer_module",
    "protocol_module",
    "set_minimum_ttl",
    "set_sending_ttl",
    "socket_errors",
    "tcp",
]

LOOP = (loop_module, peer_module, protocol_module, listener_module)
LOGGED = ("debug", "info", "warning", "error", "critical", "fatal")

REPLACED: tuple[Use, ...] = (
    Value(loop_module, "Processes", "the pipes to the node stand where helper processes were"),
    Value(loop_module, "Peer", "bursts of messages, an end with a NOTIFICATION"),
    Value(listener_module, "Peer", "the same for connections that are accepted"),
    Value(loop_module, "Listener", "sockets bound to the VRF, tried again until they are bound"),
    Value(peer_module, "Protocol", "UPDATEs that wait in a row are read in one go"),
    Value(protocol_module, "Outgoing", "one attempt a second, and failures are reported"),
    Value(neighbor_module, "RIB", "the node is the RIB; ExaBGP's would be a second copy"),
    Function(Update, "unpack_message", "RFC 7606; routes stay packed", "data direction negotiated"),
    Function(Open, "unpack_message", "capabilities (RFC 5492)", "data direction negotiated"),
    Function(Notification, "unpack_message", "texts of 255 octets", "data direction negotiated"),
    Function(RouteRefresh, "unpack_message", "unknown subtypes", "data direction negotiated"),
    Function(Connection, "reader", "one system call for many messages", "self", generates=True),
    Function(Connection, "close", "its two warnings say less than the report of the end", "self"),
    Function(Protocol, "new_update", "withdrawals", "self include_withdraw", generates=True),
    Function(tcp, "bind_to_device", "asks for the name by a datagram socket", "io interface"),
    Function(Capabilities, "_hostname", "peers are not given the host's name", "self neighbor"),
    Function(Capabilities, "_refresh", "plain route refresh only (RFC 2918)", "self neighbor"),
    Function(Capabilities, "_nexthop", "IPv6 next hops of VPN-IPv4 (RFC 8950)", "self neighbor"),
    *(Function(log, level, "the node has the journal", "message source level") for level in LOGGED),
)
"""What the worker puts something of its own in the place of, by ``replace``."""

SUBCLASSED: tuple[Use, ...] = (
    Function(Configuration, "__init__", "its text comes by the pipe", "self configurations text"),
    Function(Configuration, "reload", "sets MD5 keys past the parser", "self"),
    Assigned(Configuration, "_configurations", "the text"),
    Assigned(Configuration.__base__, "neighbors", "what it says"),
    Function(Reactor, "__init__", "takes the node's commands", "self configuration"),
    Function(Reactor, "reload", "indexes the peers by address afterwards", "self"),
    Function(Reactor, "run", "the whole life of the worker", "self"),
    Assigned(Reactor, "api processes configuration _peers", "commands, pipes, peers by name"),
    Function(Peer, "__init__", "bounds connections", "self neighbor reactor"),
    Function(Peer, "run", "several messages in a turn", "self"),
    Function(Peer, "teardown", "a NOTIFICATION despite graceful restart", "self code restart"),
    Function(Peer, "reestablish", "starts over at once", "self restart_neighbor"),
    Function(Peer, "remove", "Cease 6/3 first", "self"),
    Function(Peer, "handle_connection", "collisions, GTSM, a bound", "self connection"),
    Function(Peer, "_close", "notes the exception that ends the session", "self message error"),
    Function(Peer, "_reset", "ends a session from outside its generator", "self message error"),
    Assigned(
        Peer,
        "fsm proto neighbor reactor stats generator _teardown _restart",
        "the state of a session",
    ),
    Function(Protocol, "read_message", "rows of UPDATEs", "self", generates=True),
    Assigned(Protocol, "peer neighbor negotiated connection", "the state of a connection"),
    Function(
        Outgoing,
        "__init__",
        "when to try first",
        "self afi peer local port md5 md5_base64 ttl itf incoming_ttl",
    ),
    Function(Outgoing, "establish", "reports silence", "self", generates=True),
    Function(Outgoing, "_setup", "a device that does not exist yet", "self"),
    Function(Outgoing, "_connect", "one attempt a second", "self"),
    Assigned(Outgoing, "interface md5", "the VRF device and the key, for the messages"),
    Function(Listener, "__init__", "sockets that are still to be bound", "self reactor backlog"),
    Function(Listener, "_new_socket", "SO_BINDTODEVICE", "self ip"),
    Function(
        Listener,
        "_listen",
        "binds or raises",
        "self local_ip peer_ip local_port use_md5 md5_base64 ttl_in",
    ),
    Function(
        Listener,
        "listen_on",
        "never ends the process",
        "self local_addr remote_addr port md5_password md5_base64 ttl_in",
    ),
    Function(Listener, "incoming", "the moment to try again", "self"),
    Function(Listener, "close_unwanted", "stops trying as well", "self wanted"),
    Assigned(Listener, "_sockets _reactor", "what is bound; the pipes"),
)
"""Classes that the worker derives from: the methods that it overrides, what it reads of them."""

STANDS_IN: tuple[Use, ...] = (
    Asked(
        Reactor,
        "processes",
        "``Link``",
        LOOP,
        "answer_error broken connected down fds message negotiated notification packets received "
        "signal start terminate terminate_on_error up",
    ),
    Asked(Reactor, "api", "``Commands``", (loop_module,), "process"),
    Asked(
        Peer, "rib", "``Rib``", (*LOOP, neighbor_module), "clear incoming outgoing reset uncache"
    ),
    Asked(
        Peer,
        "outgoing",
        "``Queue``; ``withdraw`` is of a text command",
        (peer_module, protocol_module, loop_module),
        "pending replace_reload replace_restart resend updates withdraw",
    ),
    Asked(Peer, "incoming", "``Incoming``", (peer_module, loop_module), "clear update_cache"),
    Function(neighbor_module, "RIB", "``Rib``", "name adj_rib_in adj_rib_out families"),
    Function(peer_module, "Change", "is given packed routes in place of NLRI", "nlri attributes"),
)
"""What ExaBGP asks of objects of the worker, which have to have all of it."""

OBJECTS: tuple[Use, ...] = (
    Assigned(
        Negotiated,
        "neighbor sent_open received_open holdtime local_as peer_as families asn4 msg_size refresh "
        "nexthop",
        "what the two OPENs agree on; ``families`` is written where the peer has no multiprotocol",
    ),
    Extensible(Negotiated, "bulkhead_attributes", "the session's cache of parsed attributes"),
    Extensible(Connection, "bulkhead_held", "octets that are read and not yet taken"),
    Assigned(Connection, "afi peer local io msg_size", "the socket and its ends"),
    Assigned(Open, "version asn hold_time router_id capabilities", "the peer's OPEN"),
    Assigned(Notification, "code subcode data", "why a session ended"),
    Function(Notification, "__init__", "what a peer sends", "self code subcode data parse_data"),
    Extensible(Notification, "bulkhead_text", "what the peer says about it"),
    Assigned(NotifyError, "code subcode", "what the header check finds"),
    Assigned(neighbor_module.Neighbor, "api rib eor refresh", "a configured session"),
    Function(neighbor_module.Neighbor, "name", "the key of a session", "self"),
    Function(neighbor_module.Neighbor, "families", "what is configured", "self"),
    Function(neighbor_module.Neighbor, "reset_rib", "a new connection starts empty", "self"),
    Keys(
        neighbor_module.Neighbor,
        "defaults",
        "a session's configuration; the key is written",
        "peer-address local-address local-as peer-as incoming-ttl md5-password",
    ),
    Keys(neighbor_module.Neighbor.Capability, "defaults", "what is offered", "route-refresh"),
    Value(SET, "ID", "a segment's type", 1),
    Value(SEQUENCE, "ID", "a segment's type", 2),
    Value(CONFED_SEQUENCE, "ID", "a segment's type", 3),
    Assigned(RouteRefresh, "afi safi reserved", "what a peer asks for"),
    Assigned(EOR, "nlris attributes", "the family of an End-of-RIB"),
)
"""What the worker reads and writes on objects that ExaBGP makes."""

CALLED: tuple[Use, ...] = (
    Function(Attributes, "pack", "attributes of an UPDATE", "self negotiated with_default"),
    Function(Attributes, "add", "attributes of an UPDATE", "self attribute _"),
    Function(GenericAttribute, "__init__", "attributes that are passed on", "self code flag data"),
    Function(Capability, "unpack", "capabilities that are needed", "capability capabilities data"),
    Function(Capabilities, "announced", "graceful restart", "self capability"),
    Function(NextHopCapability, "__init__", "IPv6 next hops of VPN-IPv4", "self data"),
    Function(Notify, "__init__", "every NOTIFICATION", "self code subcode data"),
    Function(Update, "__init__", "carries packed routes to the loop", "self nlris attributes"),
    Function(EOR, "__init__", "End-of-RIB, both ways", "self afi safi action"),
    Function(RouteRefresh, "__init__", "asks a peer again", "self afi safi reserved"),
    Function(tcp, "set_minimum_ttl", "GTSM", "io afi ip minimum"),
    Function(tcp, "set_sending_ttl", "GTSM", "io afi ip value"),
    Value(tcp, "GTSM_SENDING_TTL", "RFC 5082", 255),
    Value(Message, "HEADER_LEN", "framing", 19),
    Value(Message, "MARKER", "framing", b"\xff" * 16),
    Value(Message, "Length", "the least and exact lengths of each type"),
    Value(Message.CODE, "UPDATE", "read in rows", 2),
    Value(Action, "ANNOUNCE", "stands in packed routes", 1),
    Value(Action, "WITHDRAW", "stands in packed routes", 2),
    Value(ACTION, "NOW", "whether a peer has more to do", 3),
    Value(FSM, "ESTABLISHED", "whether a session is up", 0x20),
    Value(FSM, "OPENSENT", "collisions", 0x08),
    Value(socket_errors, "block", "errno values that mean: not now"),
)
"""What the worker calls and compares with."""

USES = (*REPLACED, *SUBCLASSED, *STANDS_IN, *OBJECTS, *CALLED)


def faults() -> list[str]:
    """Name each entry that the installed ExaBGP does not meet, and how."""
    return [f"{use.place} {fault}" for use in USES if (fault := use.fault())]


def replace(owner: Any, name: str, value: Any) -> None:
    """Put ``value`` in the place of ``owner.name``; KeyError unless ``REPLACED`` lists it."""
    if not any(use.owner is owner and use.name == name for use in REPLACED):
        raise KeyError(f"{name} of {owner} is not listed in REPLACED")
    setattr(owner, name, value)
