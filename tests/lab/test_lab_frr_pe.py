"""The lab ``frr_pe`` shows what it claims."""

from __future__ import annotations

from labs.topologies.frr_pe import LAB
from tests.lab.claims import claims

lab, test_claim = claims(LAB)
