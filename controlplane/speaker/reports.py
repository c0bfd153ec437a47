"""The worker's lines -> events. They are not trusted: a malformed one is counted, not fatal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from itertools import islice

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.events import (
    EndOfRib,
    Event,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
)
from controlplane.model.log import Log
from controlplane.model.prefix import Family, IPAddress, parse_address
from controlplane.speaker import wire
from controlplane.speaker.attributes import AttributeReader
from controlplane.speaker.nlri import family_numbers, unpack_nlri
from controlplane.speaker.rate_limit import LOG_BURST, LOGS_PER_SECOND, EventLimit
from controlplane.speaker.session import WorkerSession

MOST_ROUTES = 100
MOST_TOGETHER = 500
"""Routes of one event, beyond which UPDATEs are not put together: events are the node's turns."""

_FAMILIES = {family.value: family for family in Family}


class ReportReader:
    """Reads the lines of one worker, whose sessions it brings up to date.

    ``sessions`` is by the peer's address as text, and may change between calls. ``logged_once``
    has the events that are logged once, whichever worker reports them.
    """

    def __init__(
        self,
        sessions: dict[str, WorkerSession],
        log: Log,
        clock: Callable[[], float],
        logged_once: set[str],
    ) -> None:
        self._sessions = sessions
        self._log = log
        self._clock = clock
        self._logged_once = logged_once
        self._decode = msgspec.json.Decoder(wire.Report).decode
        self._attributes = AttributeReader()
        self._limit = EventLimit(LOG_BURST, LOGS_PER_SECOND, clock)
        self.malformed = 0
        self.refused = 0
        self.unusable = ""
        """Why the worker cannot run at all; "" as long as it has not said so."""

    @property
    def withheld(self) -> int:
        """Return how many log lines were not written because there were too many."""
        return self._limit.withheld

    def read(self, lines: Iterable[bytes]) -> list[Event]:
        """Return the events of these lines, in their order."""
        events: list[Event] = []
        for line in lines:
            try:
                self._line(line, events)
            except (ValueError, OverflowError) as error:
                self.malformed += 1
                self._emit("warning", "speaker_line_malformed", {"reason": str(error)[:200]})
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        report = self._decode(line)
        if isinstance(report, wire.Update):  # nearly all of them
            session = self._sessions.get(report.peer)
            # A session that was taken off and put back has other numbers: its late lines go.
            if session is not None and session.established:
                self._update(session, report, events)
            return
        if isinstance(report, wire.LogLine):
            self._log_line(report)
            return
        if isinstance(report, wire.Unusable):
            self.unusable = report.reason
            return
        if isinstance(report, wire.Unconfined):
            self._unconfined(report)
            return
        if isinstance(report, wire.Alive):
            return  # that something was read is what counts
        session = self._sessions.get(report.peer)
        if isinstance(report, wire.CommandRefused):
            self.refused += 1
            self._emit("error", "command_refused", {"peer": report.peer, "reason": report.reason})
        elif isinstance(report, wire.Malformed):
            if session is not None:
                session.malformed += 1 + report.missed
            self._emit("warning", "update_malformed", malformed_fields(report), report.missed)
        elif isinstance(report, wire.TooLarge):
            if session is not None and session.number == report.session:
                self._too_large(session, report)
        elif isinstance(report, wire.CapabilityIgnored):
            ignored: dict[str, str | int] = {"peer": report.peer, "capability": report.code}
            self._emit("warning", "capability_ignored", {**ignored, "reason": report.reason})
        elif session is not None:
            self._for_session(session, report, events)

    def _unconfined(self, report: wire.Unconfined) -> None:
        """Log, once for all workers, that they run without a filter of system calls."""
        if "speaker_unconfined" not in self._logged_once:
            self._logged_once.add("speaker_unconfined")
            self._emit("warning", "speaker_unconfined", {"reason": report.reason[:200]})

    def _too_large(self, session: WorkerSession, report: wire.TooLarge) -> None:
        """Note which routes were withdrawn because they fit no UPDATE."""
        family = next((f for f in Family if family_numbers(f) == report.family), None)
        if family is None:
            raise ValueError(f"family {report.family}")
        routes = unpack_nlri(family, report.nlri, withdraw=True)
        session.too_large += len(routes)
        reason = f"attributes of {report.octets} octets fit no UPDATE"
        session.unsent.note(family, routes, reason, self._clock())
        fields: dict[str, str | int] = {"peer": report.peer, "octets": report.octets}
        self._emit("warning", "update_too_large", {**fields, "routes": named(routes)})

    def _for_session(
        self, session: WorkerSession, report: wire.Report, events: list[Event]
    ) -> None:
        match report:
            case wire.Up():
                events.append(session.come_up(report, self._clock()))
            case wire.Down():
                down = session.go_down(report, self._clock())
                if down is not None:
                    events.append(down)
            case wire.EndOfRibReport() if session.established:
                events.append(EndOfRib(session.peer, named_family(report.family)))
            case wire.RefreshReport() if session.established:
                events.append(RefreshRequested(session.peer, named_family(report.family)))
            case wire.ConnectFailed():
                session.last_error = report.reason
                self._emit("info", "connect_failed", {"peer": report.peer, "reason": report.reason})

    def _update(self, session: WorkerSession, report: wire.Update, events: list[Event]) -> None:
        session.updates_received += 1
        for name, packed in report.withdraw:
            family = named_family(name)
            routes = unpack_nlri(family, packed, withdraw=True)
            events.append(RoutesWithdrawn(session.peer, family, routes))
        if report.announce:
            self._announcements(session, report, events)

    def _announcements(
        self, session: WorkerSession, report: wire.Update, events: list[Event]
    ) -> None:
        try:
            attributes = self._attributes.read(report.attributes)
        except (ValueError, OverflowError):
            # Treat-as-withdraw: their former attributes do not hold any more (RFC 7606 section 2).
            for name, _, packed in report.announce:
                family = named_family(name)
                routes = unpack_nlri(family, packed, withdraw=True)
                events.append(RoutesWithdrawn(session.peer, family, routes))
            raise
        for name, hop, packed in report.announce:
            self._announced(session, named_family(name), hop, attributes, packed, events)

    def _announced(
        self,
        session: WorkerSession,
        family: Family,
        hop: str,
        attributes: Attributes,
        packed: bytes,
        events: list[Event],
    ) -> None:
        routes = unpack_nlri(family, packed)
        next_hop = read_next_hop(hop)
        session.routes_received += len(routes)
        last = events[-1] if events else None
        if (
            isinstance(last, RoutesReceived)
            and len(last.nlri) < MOST_TOGETHER
            and last.attributes is attributes
            and last.next_hop == next_hop
            and last.family is family
            and last.peer == session.peer
        ):
            last.nlri.extend(routes)
        else:
            events.append(RoutesReceived(session.peer, family, next_hop, attributes, routes))

    def _emit(self, level: str, event: str, fields: dict[str, str | int], missed: int = 0) -> None:
        """Log a line, unless there are too many of its kind about its peer; the next line gives
        the number withheld. ``missed`` were withheld before they came here."""
        kind = f"{event} {fields.get('peer', '')}"
        if self._limit.admits(kind):
            missed += self._limit.missed(kind)
            self._log(level, event, {**fields, "withheld": missed} if missed else fields)

    def _log_line(self, report: wire.LogLine) -> None:
        """Log a line of ExaBGP's without any session's key."""
        text = report.text
        for session in self._sessions.values():
            if session.intent.md5:
                text = text.replace(session.intent.md5, "***")
        self._emit(report.level, "exabgp", {"text": text}, report.missed)


def malformed_fields(report: wire.Malformed) -> dict[str, str | int]:
    """Return a malformed UPDATE for the log: its routes, and the message in hexadecimal."""
    found: list[Nlri] = []
    for numbers, packed in report.routes[:MOST_ROUTES]:
        family = next((f for f in Family if family_numbers(f) == numbers), None)
        if family is not None:
            found += unpack_nlri(family, packed, withdraw=True)
    return {
        "peer": report.peer,
        "handling": report.handling,
        "reason": report.reason[:200],
        "routes": named(found),
        "message": report.message.hex(),
    }


def named(routes: Iterable[Nlri]) -> str:
    """Return routes as text, as many as a line of the log may have."""
    some = islice(routes, MOST_ROUTES)
    return ", ".join(str(n.prefix) if n.rd is None else f"{n.rd} {n.prefix}" for n in some)


def named_family(name: str) -> Family:
    """Return the family of that name; ValueError for one that was never negotiated."""
    family = _FAMILIES.get(name)
    if family is None:
        raise ValueError(f"family {name!r}")
    return family


def read_next_hop(text: str) -> IPAddress:
    """Return a next hop; ``::ffff:a.b.c.d`` is the IPv4 address that it stands for (RFC 4659)."""
    address = parse_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
