"""A small company to test policies on: web, app and db, production and development."""

from __future__ import annotations

from ipaddress import ip_address

from controlplane.model.observed import Flow
from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import Inventory, Packet, RemotePrefix, Workload
from controlplane.policy.compile.full import Compiled, compile_policy
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import Decision, evaluate
from controlplane.policy.language.document import parse_policy

POLICY = """
groups:
  web: {id: 101, selector: tier=web}
  app: {id: 102, selector: tier=app}
  db: {id: 103, selector: tier=db}
  prod: {id: 104, selector: env=prod}
  dev: {id: 105, selector: env=dev}
networks:
  partners: [203.0.113.0/24, "2001:db8:9::/48"]
  internet: [0.0.0.0/0, "::/0"]
MODES
rules:
  security:
    - deny dev to prod
    - log internet to any on tcp/22
    - pass partners to any on tcp/8000-8100
    - deny internet to any on tcp/1-1023, tcp/8080
  application:
    - allow internet to web on tcp/443, tcp/8000-8100
    - allow web to app on tcp/8080
    - allow app to db on tcp/5432
"""
ADDRESS = {
    "web": "10.0.0.1",
    "app": "10.0.0.2",
    "db": "10.0.0.3",
    "devweb": "10.0.0.4",
    "partner": "203.0.113.9",
    "stranger": "198.51.100.1",
    "lost": "10.9.0.1",
    "far": "10.8.0.7",
}


def policy_text(modes: str = "") -> str:
    """The document with a `modes` section, such as `modes: {default: full}`."""
    return POLICY.replace("MODES", modes)


def _workload(name: str, tags: dict[str, str]) -> Workload:
    v4 = parse_prefix(ADDRESS[name])
    v6 = parse_prefix("2001:db8::" + ADDRESS[name].rpartition(".")[2])
    return Workload(name, "red", f"port-{name}", (v4, v6), tags)


INVENTORY = Inventory(
    frozenset({"red", "blue"}),
    (
        _workload("web", {"tier": "web", "env": "prod"}),
        _workload("app", {"tier": "app", "env": "prod"}),
        _workload("db", {"tier": "db", "env": "prod"}),
        _workload("devweb", {"tier": "web", "env": "dev"}),
    ),
    (
        RemotePrefix("red", parse_prefix("10.9.0.0/16"), None),
        RemotePrefix("red", parse_prefix("10.8.0.0/24"), frozenset({103, 104})),
    ),
)


def compiled(modes: str = "") -> Compiled:
    """The company's policy in tables."""
    return compile_policy(parse_policy(policy_text(modes)), INVENTORY)


def decide(
    source: str, destination: str, port: int, modes: str = "", protocol: int = 6, zone: str = "red"
) -> Decision:
    """The verdict by the reference, checked against the tables."""
    src, dst = ip_address(ADDRESS[source]), ip_address(ADDRESS[destination])
    packet = Packet(4, protocol, dport=port)
    decision = evaluate(parse_policy(policy_text(modes)), INVENTORY, zone, src, dst, packet)
    made = compiled(modes)
    verdict = Reader(made.tables).verdict(zone, src, dst, packet)
    assert (verdict.allowed, made.rule_ids[verdict.rule]) == (decision.allowed, decision.rule)
    return decision


def flow(source: str, destination: str, port: int, hits: int = 1) -> Flow:
    """A TCP flow over IPv4 in VRF red that was allowed."""
    src, dst = ip_address(ADDRESS[source]), ip_address(ADDRESS[destination])
    return Flow("red", src, dst, Packet(4, 6, dport=port), hits, first=10.0, last=20.0)
