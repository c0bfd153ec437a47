"""Changes of pe1's configuration while it runs, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from labs.attack.net import Net


@contextlib.contextmanager
def edited(net: Net, change: Callable[[str], str]) -> Iterator[None]:
    """pe1 runs with a changed pe.yaml meanwhile, and with the old one again afterwards."""
    file = net.lab.dir("pe1") / "pe.yaml"
    before = file.read_text()
    after = change(before)
    assert after != before, "the change changes nothing"  # noqa: S101
    file.write_text(after)
    try:
        net.pe1.reload()
        yield
    finally:
        file.write_text(before)
        net.pe1.reload()


def with_vrf(name: str, number: int, port: str = "spare0", static: str = "") -> str:
    """The text of one more VRF with one port, 192.168.7.1/30 and 2001:db8:f7::1/64."""
    routes = static or (
        "      - {prefix: 10.7.0.0/24, via: 192.168.7.2}\n"
        '      - {prefix: "2001:db8:7::/64", via: "2001:db8:f7::2"}\n'
    )
    return (
        f"  {name}:\n    rd: 65000:10{number}\n    route-target: 65000:{number}00\n"
        f"    ports:\n      {port}:\n"
        '        addresses: [192.168.7.1/30, "2001:db8:f7::1/64"]\n'
        f"    static-routes:\n{routes}"
    )
