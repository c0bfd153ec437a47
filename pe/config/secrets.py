"""Read MD5 keys from the configuration or from files beside it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pe.config.errors import Complaint, KeyPath
from pe.config.schema import NodeSection, SessionSection
from pe.config.values import check_md5

_LONGEST_FILE = 4096


@dataclass(slots=True)
class Keys:
    """Hold MD5 keys by the path of their session; never printed."""

    by_session: dict[KeyPath, str] = field(default_factory=dict, repr=False)
    complaints: list[Complaint] = field(default_factory=list)
    warnings: list[Complaint] = field(default_factory=list)


def sessions(node: NodeSection) -> Iterator[tuple[KeyPath, SessionSection]]:
    """Yield every BGP session of the file with its path, core first."""
    for address, peer in node.peers.items():
        yield ("peers", address), peer
    for name, vrf in node.vrfs.items():
        for address, neighbor in vrf.neighbors.items():
            yield ("vrfs", name, "neighbors", address), neighbor


def collect_keys(node: NodeSection, folder: Path) -> Keys:
    """Read every key; paths of ``md5-file`` are relative to the configuration's folder."""
    keys = Keys()
    for path, session in sessions(node):
        if session.md5 and session.md5_file:
            keys.complaints.append(
                Complaint((*path, "md5-file"), "md5 and md5-file are both given", "keep one")
            )
        elif session.md5_file:
            _read(keys, path, folder / session.md5_file)
        elif session.md5:
            keys.by_session[path] = session.md5
    return keys


def _read(keys: Keys, path: KeyPath, file: Path) -> None:
    place = (*path, "md5-file")
    try:
        with file.open(encoding="ascii") as stream:
            text = stream.read(_LONGEST_FILE).strip()
            mode = stat.S_IMODE(file.stat().st_mode)
        keys.by_session[path] = check_md5(text)
    except OSError as error:
        problem = f"cannot read {file}: {error.strerror}"
        keys.complaints.append(Complaint(place, problem, "write a file with the key in one line"))
        return
    except ValueError as error:
        cure = "put the key alone in the file, in one line of ASCII"
        problem = "is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        keys.complaints.append(Complaint(place, problem, cure))
        return
    if mode & 0o004:
        keys.warnings.append(Complaint(place, f"every user can read {file}", f"chmod o= {file}"))
