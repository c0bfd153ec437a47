"""The lab ``unlabelled`` shows what it claims (ISO-14)."""

from __future__ import annotations

from labs.topologies.unlabelled import LAB
from tests.lab.claims import claims

lab, test_iso_14_claim = claims(LAB)
