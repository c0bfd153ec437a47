"""The lab ``reflector_gobgp`` shows what it claims."""

from __future__ import annotations

from labs.topologies.reflector_gobgp import LAB
from tests.lab.claims import claims

lab, test_claim = claims(LAB)
