"""Sends transactions to nftables over netlink.

The kernel has dealt with a batch when send returns (nfnetlink_rcv_batch), so nothing here waits
for more than the batch itself. Of a large one that takes long: send it from a thread.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from pe.netlink import codec as nl
from pe.nft.diff import Operation
from pe.nft.messages import batch, messages
from pe.nft.text import lines

NETLINK_NETFILTER = 12
WORDS = 200
"""Characters of an operation that stand in an error."""


class GenerationMovedError(OSError):
    """Another program changed the ruleset since it was read; nothing was done."""


class BatchRefusedError(OSError):
    """The kernel would not take a batch; all is as before."""


class RulesetWriter:
    """One socket for transactions, one at a time."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket(NETLINK_NETFILTER)
        self._room = nl.BUFFER

    def apply(self, operations: Sequence[Operation], generation: int | None = None) -> None:
        """Do all of this or nothing. Raises GenerationMovedError if the ruleset is not of this
        generation, BatchRefusedError with the first refusal and the operation's words."""
        body, whose = messages(operations)
        data = batch(body, generation)
        if len(data) > self._room // 2:
            self._room = 4 * len(data)
            self._socket.resize(socket.SO_SNDBUF, nl.SO_SNDBUFFORCE, self._room)
        self._socket.receive()  # what a send that was interrupted left
        try:
            self._socket.send(data)
            answers = self._socket.receive()
        except OSError as error:
            # So many refusals that they overrun the buffer are refusals all the same.
            raise BatchRefusedError(error.errno, error.strerror) from error
        _judge(answers, whose)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _judge(answers: Sequence[nl.Message], whose: Sequence[Operation]) -> None:
    """Answers carry the numbers of their messages, from 1 on; the last message is acknowledged."""
    acknowledged = False
    for answer in answers:
        if answer.type != nl.NLMSG_ERROR:
            continue
        refused = nl.refusal(answer)
        if refused is None:
            acknowledged = acknowledged or answer.seq == len(whose)
            continue
        if refused.errno == errno.ERESTART:
            raise GenerationMovedError(errno.ERESTART, "the ruleset changed meanwhile")
        at = f"message {answer.seq} of {len(whose)}"
        if 0 < answer.seq <= len(whose):
            at += f": {next(lines(whose[answer.seq - 1]), '')[:WORDS]}"
        raise BatchRefusedError(refused.errno, f"{refused.strerror} ({at})")
    if whose and not acknowledged:
        raise BatchRefusedError(errno.EPROTO, "a batch was not acknowledged")
