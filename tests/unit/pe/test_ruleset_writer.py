"""What the kernel answers to a batch, and what is made of it."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest

from pe.netlink import codec as nl
from pe.nft import socket as nft
from pe.nft.diff import AddChain, Operation, Simple
from pe.nft.model import TableId

TABLE = TableId("inet", "t")
OPERATIONS: list[Operation] = [
    Simple("add", "table", TABLE),
    Simple("add", "counter", TABLE, "dropped"),
    AddChain(TABLE, "c", None),
]


class Socket:
    """Answers each batch as the test says."""

    def __init__(self) -> None:
        self.answers: Sequence[tuple[int, int]] | OSError = ()
        self.stale: list[nl.Message] = []
        self.sent: list[bytes] = []
        self.room = nl.BUFFER
        self._answered = True

    def resize(self, _option: int, _forced: int, size: int) -> None:
        self.room = size

    def send(self, data: bytes) -> None:
        assert len(data) <= self.room
        self.sent.append(data)
        self._answered = False

    def receive(self) -> list[nl.Message]:
        if self._answered:
            found, self.stale = self.stale, []
            return found
        self._answered = True
        if isinstance(self.answers, OSError):
            raise self.answers
        return [answer(seq, code) for seq, code in self.answers]


def answer(seq: int, code: int) -> nl.Message:
    """An acknowledgement (0), or an error, of the message with this number."""
    body = struct.pack("=i", -code) + nl.HEADER.pack(16, 0, 0, seq, 0)
    return nl.Message(nl.NLMSG_ERROR, 0, seq, 0, memoryview(body))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Socket:
    found = Socket()
    monkeypatch.setattr(nl, "NetlinkSocket", lambda _family: found)
    return found


def test_what_is_acknowledged_is_done(kernel: Socket) -> None:
    kernel.answers = [(3, 0)]
    nft.RulesetWriter().apply(OPERATIONS, 7)
    first, *body, last = nl.messages(memoryview(kernel.sent[0]))
    assert len(body) == 3
    assert (first.type, last.type) == (16, 17)


def test_a_refusal_names_its_operation(kernel: Socket) -> None:
    kernel.answers = [(2, errno.ENOSPC), (3, 0)]
    with pytest.raises(nft.BatchRefusedError, match="add counter inet t dropped") as refused:
        nft.RulesetWriter().apply(OPERATIONS)
    assert refused.value.errno == errno.ENOSPC


def test_another_change_meanwhile_is_not_a_refusal(kernel: Socket) -> None:
    kernel.answers = [(0, errno.ERESTART)]
    with pytest.raises(nft.GenerationMovedError):
        nft.RulesetWriter().apply(OPERATIONS, 7)


def test_a_batch_without_an_answer_is_not_taken_for_done(kernel: Socket) -> None:
    with pytest.raises(nft.BatchRefusedError, match="not acknowledged"):
        nft.RulesetWriter().apply(OPERATIONS)


@pytest.mark.parametrize("code", [errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_answers_that_cannot_be_read_are_a_refusal(kernel: Socket, code: int) -> None:
    kernel.answers = OSError(code, "no")
    with pytest.raises(nft.BatchRefusedError) as refused:
        nft.RulesetWriter().apply(OPERATIONS)
    assert refused.value.errno == code


def test_an_answer_from_before_is_not_taken_for_this_one(kernel: Socket) -> None:
    kernel.stale = [answer(3, 0)]
    with pytest.raises(nft.BatchRefusedError, match="not acknowledged"):
        nft.RulesetWriter().apply(OPERATIONS)


def test_a_large_batch_gets_room(kernel: Socket) -> None:
    many = [Simple("add", "counter", TABLE, f"c{n}") for n in range(40_000)]
    kernel.answers = [(len(many), 0)]
    nft.RulesetWriter().apply(many)
    assert kernel.room > len(kernel.sent[0]) > nl.BUFFER
