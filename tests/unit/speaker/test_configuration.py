"""ExaBGP's configuration, and where the secrets are."""

from ipaddress import IPv4Address, ip_address

import msgspec

from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker.configuration import render
from controlplane.speaker.launch import command_line, environment
from controlplane.speaker.wire import Configure

CE = PeerIntent(
    peer=PeerId("red", ip_address("10.0.0.2")),
    asn=65001,
    local_address=ip_address("10.0.0.1"),
    local_as=65000,
    families=(Family.IPV4_UNICAST, Family.IPV6_UNICAST),
    md5='a "key"; with { everything } # in it',
    hold_time=30,
    ttl_security=1,
    passive=True,
)

EXPECTED = """process node {
  run /bin/true;
  encoder json;
}
neighbor 10.0.0.2 {
  router-id 10.255.0.1;
  local-address 10.0.0.1;
  local-as 65000;
  peer-as 65001;
  hold-time 30;
  listen 179;
  connect 179;
  manual-eor true;
  adj-rib-in false;
  group-updates true;
  source-interface red;
  passive true;
  incoming-ttl 255;
  outgoing-ttl 255;
  capability {
    asn4 enable;
    route-refresh enable;
    extended-message disable;
    graceful-restart 120;
  }
  family {
    ipv4 unicast;
    ipv6 unicast;
  }
  api {
    processes [ node ];
    neighbor-changes;
    negotiated;
    receive {
      parsed;
      update;
      refresh;
    }
  }
}
"""


def rendered(*peers: PeerIntent, device: str = "red", restart: int = 120) -> Configure:
    return render(
        peers,
        router_id=IPv4Address("10.255.0.1"),
        restart_time=restart,
        device=device,
        listen_port=179,
    )


def test_the_text_is_as_expected_and_the_key_apart_from_it() -> None:
    made = rendered(CE)
    assert made.text == EXPECTED
    assert made.md5 == {"10.0.0.2": CE.md5}


def test_a_core_session_is_bound_to_no_device() -> None:
    core = msgspec.structs.replace(CE, ttl_security=None, passive=False, md5=None)
    made = rendered(core, device="", restart=0)
    for absent in ("source-interface", "passive", "ttl", "graceful-restart 0"):
        assert absent not in made.text
    assert "graceful-restart disable;" in made.text
    assert made.md5 == {}


def test_a_greater_distance_lowers_the_least_ttl() -> None:
    made = rendered(msgspec.structs.replace(CE, ttl_security=2))
    assert "incoming-ttl 254;" in made.text


def test_the_order_of_the_peers_is_of_no_account() -> None:
    other = msgspec.structs.replace(CE, peer=PeerId("red", ip_address("10.0.0.6")))
    assert rendered(CE, other) == rendered(other, CE)


def test_no_secret_among_arguments_and_environment() -> None:
    words = [*command_line("nobody", 1879048193, (3, 4), "red"), *environment("nobody").values()]
    assert not any("key" in word for word in words)
    assert words[words.index("-m") + 1] == "controlplane.speaker.worker"
