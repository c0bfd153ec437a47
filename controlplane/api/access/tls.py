"""Mutual TLS whose certificates may be replaced while the node runs.

The files are looked at when a handshake begins. A pair that does not fit together (half of a
rotation) is not taken: the former one goes on serving.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from controlplane.model.intent import TcpApiIntent

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class Certificates:
    """The files of one TCP listener; ``report`` gets the reason where a set could not be loaded."""

    intent: TcpApiIntent
    folder: Path
    report: Callable[[str], None]
    _stamp: _Stamp = ()

    def credentials(self) -> grpc.ServerCredentials:
        """For ``add_secure_port``. Raises OSError or ssl.SSLError if the files are unusable."""
        self._stamp = self._look()
        first = self._load()
        return grpc.dynamic_ssl_server_credentials(
            first,
            self._fetch,  # type: ignore[arg-type]  # None is "nothing new", as gRPC documents
            require_client_authentication=True,
        )

    @property
    def _files(self) -> tuple[Path, Path, Path]:
        names = (self.intent.certificate, self.intent.key, self.intent.client_ca)
        return tuple(self.folder / name for name in names)  # type: ignore[return-value]

    def _look(self) -> _Stamp:
        found = (path.stat() for path in self._files)
        return tuple((s.st_mtime_ns, s.st_ino, s.st_size) for s in found)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate, key, authority = self._files
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        check.load_cert_chain(certificate, key)
        check.load_verify_locations(authority)
        pair = [(key.read_bytes(), certificate.read_bytes())]
        return grpc.ssl_server_certificate_configuration(pair, authority.read_bytes())

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new files, None if nothing changed. Called by gRPC, from a thread of its own."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            fresh = self._load()
        except (OSError, ssl.SSLError) as error:
            self.report(f"new certificates not taken: {error}")
            return None
        self._stamp = stamp
        return fresh
