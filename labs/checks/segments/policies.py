"""The policies that the company writes on its way."""

from __future__ import annotations

GROUPS = """
groups:
  web: {id: 101, selector: tier=web and env=prod}
  app: {id: 102, selector: tier=app and env=prod}
  db: {id: 103, selector: tier=db and env=prod}
  payroll: {id: 104, selector: app=payroll}
  mon: {id: 105, selector: tier=mon}
  vault: {id: 106, selector: tier=vault}
  dev: {id: 107, selector: env=dev}
  prod: {id: 108, selector: env=prod}
  pci: {id: 109, selector: scope=pci}
networks:
  office: [203.0.113.0/24]
"""

TAGGED = "name: tagged\n" + GROUPS

DEVELOPMENT = (
    "name: development\n"
    + GROUPS
    + """
modes: {groups: {dev: full}}
rules:
  security:
    - deny dev to prod
"""
)

CLOSED = """
modes: {groups: {dev: full, payroll: full, db: full}}
rules:
  security:
    - deny dev to prod
  application:
    - allow app to payroll on tcp/443
    - allow app, payroll to db on tcp/6379 in vrf red
    - allow mon to prod on icmp/echo-request, icmp6/echo-request
    - allow prod to mon on udp/53
    - allow web to db on tcp/6379 in vrf blue
"""

FORGETFUL = "name: payroll-1\n" + GROUPS + CLOSED
"""A policy without the nightly backup."""

BACKUP = "allow db to vault on tcp/8000-8100"
PAYROLL = f"name: payroll-2\n{GROUPS}{CLOSED}    - {BACKUP}\n"
