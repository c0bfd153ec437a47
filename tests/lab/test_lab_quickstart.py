"""The lab ``quickstart`` shows what it claims."""

from __future__ import annotations

from labs.topologies.quickstart import LAB
from tests.lab.claims import claims

lab, test_claim = claims(LAB)
