"""Why a BGP session ended, in words: error codes (RFC 4271 section 4.5) and the peer's text."""

from __future__ import annotations

from controlplane.speaker.wire import Down

CODES = {
    1: "Message Header Error",
    2: "OPEN Message Error",
    3: "UPDATE Message Error",
    4: "Hold Timer Expired",
    5: "Finite State Machine Error",
    6: "Cease",
    7: "ROUTE-REFRESH Message Error",
    8: "Send Hold Timer Expired",
}

SUBCODES = {
    (1, 1): "Connection Not Synchronized",
    (1, 2): "Bad Message Length",
    (1, 3): "Bad Message Type",
    (2, 1): "Unsupported Version Number",
    (2, 2): "Bad Peer AS",
    (2, 3): "Bad BGP Identifier",
    (2, 4): "Unsupported Optional Parameter",
    (2, 6): "Unacceptable Hold Time",
    (2, 7): "Unsupported Capability",
    (2, 11): "Role Mismatch",
    (3, 1): "Malformed Attribute List",
    (3, 2): "Unrecognized Well-known Attribute",
    (3, 3): "Missing Well-known Attribute",
    (3, 4): "Attribute Flags Error",
    (3, 5): "Attribute Length Error",
    (3, 6): "Invalid ORIGIN Attribute",
    (3, 8): "Invalid NEXT_HOP Attribute",
    (3, 9): "Optional Attribute Error",
    (3, 10): "Invalid Network Field",
    (3, 11): "Malformed AS_PATH",
    (5, 1): "Unexpected Message in OpenSent State",
    (5, 2): "Unexpected Message in OpenConfirm State",
    (5, 3): "Unexpected Message in Established State",
    (6, 1): "Maximum Number of Prefixes Reached",
    (6, 2): "Administrative Shutdown",
    (6, 3): "Peer De-configured",
    (6, 4): "Administrative Reset",
    (6, 5): "Connection Rejected",
    (6, 6): "Other Configuration Change",
    (6, 7): "Connection Collision Resolution",
    (6, 8): "Out of Resources",
    (6, 9): "Hard Reset",
    (6, 10): "BFD Down",
    (7, 1): "Invalid Message Length",
}


def reason(down: Down) -> str:
    """Return a line for the operator."""
    if down.cause == "lost":
        head = "connection lost"
    elif down.cause == "ended":
        return down.text or "session ended"
    else:
        head = f"NOTIFICATION {down.cause}: {code_name(down.code, down.subcode)}"
    known = down.text.casefold() == SUBCODES.get((down.code, down.subcode), "").casefold()
    return head if known or not down.text else f"{head}: {down.text}"


def code_name(code: int, subcode: int) -> str:
    """Return a NOTIFICATION's code and subcode by name and by number."""
    names = [CODES.get(code, "error"), SUBCODES.get((code, subcode), "")]
    return f"{', '.join(filter(None, names))} ({code},{subcode})"
