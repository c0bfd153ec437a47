"""The lab ``ipv6_core`` shows what it claims."""

from __future__ import annotations

from labs.topologies.ipv6_core import LAB
from tests.lab.claims import claims

lab, test_claim = claims(LAB)
