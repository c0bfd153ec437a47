"""Three PEs behind a route reflector that is GoBGP."""

from __future__ import annotations

from labs.parts import loopback
from labs.peers.gobgp import program as gobgpd
from labs.reflected import MD5, REFLECTOR, reflected


def _neighbor(address: str) -> str:
    families = "".join(
        f"""
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "l3vpn-{family}-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
"""
        for family in ("ipv4", "ipv6")
    )
    return f"""
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{address}"
    peer-as = 65000
    auth-password = "{MD5}"
  [neighbors.transport.config]
    local-address = "{REFLECTOR}"
  [neighbors.timers.config]
    hold-time = 30
    connect-retry = 5
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 120
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "{REFLECTOR}"
{families}"""


CONFIG = f"""
[global.config]
  as = 65000
  router-id = "{REFLECTOR}"
  local-address-list = ["{REFLECTOR}"]
""" + "".join(_neighbor(loopback(n)) for n in (1, 2, 3))

LAB = reflected(
    "reflector_gobgp", "three PEs behind a route reflector that is GoBGP", (gobgpd(CONFIG),)
)
