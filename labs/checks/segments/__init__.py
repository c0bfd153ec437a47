"""The road of microsegmentation, walked as a team would: discover, tag, test, enforce, move,
prove."""

from labs.checks.segments.conflict import one_address, one_id
from labs.checks.segments.enforce import back_and_forward, development, payroll
from labs.checks.segments.look import discover, sessions, tag, test
from labs.checks.segments.move import move, prove, survive
from labs.topology import Check

CHECKS: tuple[Check, ...] = (
    sessions,
    discover,
    tag,
    test,
    development,
    payroll,
    back_and_forward,
    move,
    prove,
    one_address,
    one_id,
    survive,
)
