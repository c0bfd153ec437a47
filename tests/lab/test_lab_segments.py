"""The lab ``segments`` shows what it claims."""

from __future__ import annotations

from labs.topologies.segments import LAB
from tests.lab.claims import claims

lab, test_claim = claims(LAB)
