"""Name the guards that a test can disable one by one, so that its attack arrives."""

from __future__ import annotations

import enum


class Guard(enum.Enum):
    """Name a guard that can be disabled, by the trap or requirement that it answers."""

    EDGE = "edge"
    """The allow-list at CE ingress and the other ingress checks (T6, T7, T12, LBL, SPF)."""
    EGRESS = "egress"
    """The allow-list at CE egress, and TTL 0 (LBL-9, HIDE-2)."""
    EXPLICIT_NULL = "explicit-null"
    """Labels 0 and 2 from the core (T9)."""
    UNKNOWN_PORT = "unknown-port"
    """Packets of unconfigured ports (FAIL-1)."""
    INPUT = "input"
    """Packets to the PE itself (ACL, CPP)."""
    ZONES = "zones"
    """Conntrack zones by port (T4, T5)."""
    VERDICT = "verdict"
    """That a policy has judged, in VRFs that are under one (FAIL-3)."""
    LIMITS = "limits"
    """Conntrack limits of a VRF (T15)."""
    ON_LINK = "on-link"
    """The limit of unresolved neighbours on a CE port (T14)."""
    LAST_RESORT = "last-resort"
    """The unreachable default of a VRF's table (T1)."""
    WAYS_OUT = "ways-out"
    """What entered by a VRF leaves by a port of that VRF or with a label (ISO-15)."""
    OWN_SOURCE = "own-source"
    """The node's own addresses as source of what comes under a label (SPF-6)."""
    LOCAL_RULE = "local-rule"
    """The place of the rule for local addresses (T2)."""
    LABEL_INPUT = "label-input"
    """MPLS input off everywhere but on core ports (T8, LBL-1): with it off, on everywhere."""
    PORT_SYSCTLS = "port-sysctls"
    """The per-port settings (T13, HIDE-9)."""
    SPEAKERS = "speakers"
    """BGP processes send into their own VRF only (BGP-14)."""
    SOCKETS = "sockets"
    """Listeners of the global table out of the VRFs' reach (ISO-10)."""
    PIPE_MODE = "pipe-mode"
    """The customer's TTL out of the label's (HIDE-1)."""


NONE: frozenset[Guard] = frozenset()
