"""Bytes from the pipe -> whole lines, of bounded length."""

from __future__ import annotations

LONGEST_LINE = 1 << 20


class LineSplitter:
    """Cuts a stream into lines; one that is too long is dropped whole, and counted."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._partial = b""
        self._skipping = False
        self.dropped = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their ends."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = self._partial + lines[0]
            self._partial = b""
            if self._skipping:
                del lines[0]
                self._skipping = False
        if not self._skipping:
            self._partial += rest
        if len(self._partial) > self._longest:
            self._partial, self._skipping = b"", True
            self.dropped += 1
        return lines
