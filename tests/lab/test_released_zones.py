"""The kernel's connections of a released zone are deleted, and no other zone's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.lab

# Connections as the kernel tracks them, 1,500 of each zone and family, so that one send holds
# not all deletions; then two zones are flushed. Prints counts by zone before and after.
STORY = """
import json, socket, struct, time
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from pe.observe.conntrack import count
from pe.observe.zone_flush import flush

def entry(zone, number, family):
    sizes = {2: (1, 2), 10: (3, 4)}[family]
    address = (b"\\x0a\\0" if family == 2 else b"\\xfd" + bytes(13)) + struct.pack(">H", number)
    ends = [nl.attribute(kind, address[:-1] + bytes((i + 1,))) for i, kind in enumerate(sizes)]
    def side(ends, ports):
        ip = nl.nested(1, *ends)
        proto = nl.nested(2, nl.attribute(1, b"\\x11"),
                          *(nl.attribute(k, struct.pack(">H", p)) for k, p in zip((2, 3), ports)))
        return ip + proto
    back = [nl.attribute(kind, end[4:4 + len(address)]) for kind, end in zip(sizes, reversed(ends))]
    return (bytes((family, 0, 0, 0))
            + nl.nested(1, side(ends, (number, 53))) + nl.nested(2, side(back, (53, number)))
            + nl.attribute(7, struct.pack(">I", 600)) + nl.attribute(3, struct.pack(">I", 8))
            + (nl.attribute(18, struct.pack(">H", zone)) if zone else b""))

opened = nl.NetlinkSocket(NETLINK_NETFILTER)
for zone in (0, 7, 8, 9):
    for number in range(1500):
        for family in (2, 10):
            opened.request(1 << 8, nl.NLM_F_CREATE | nl.NLM_F_EXCL, entry(zone, number + 1, family))
before = dict(count())
deleted = flush({7, 9})
print(json.dumps([before, deleted, dict(count()), flush({7}), flush(())]))
"""


def test_only_the_released_zones_are_flushed() -> None:
    command = ("unshare", "--net", sys.executable, "-c", STORY)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, deleted, after, again, none = json.loads(done.stdout)
    assert before == dict.fromkeys(("0", "7", "8", "9"), 3000)
    assert deleted == 6000
    assert after == {"0": 3000, "8": 3000}
    assert (again, none) == (0, 0)
