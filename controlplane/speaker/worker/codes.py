"""Codes of the path attributes that Bulkhead reads."""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """RFC 4271 section 5.1, RFC 1997, RFC 4456, RFC 4360, RFC 6793, RFC 8092."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MED = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITY = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    EXTENDED_COMMUNITY = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    LARGE_COMMUNITY = 32
