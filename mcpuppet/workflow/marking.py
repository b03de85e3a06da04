"""The marking: where every step of a run is, in one Python int.

Step `i` owns the six bits from `6 * i`, exactly one of which is set. Legality is then a few bit
tests, and a state of the run is a number that can be compared, hashed and stored. Events that have
happened are kept the same way, eight sticky bits a step, in a second int.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from mcpuppet.workflow.definition import STEP_EVENTS

PENDING, RUNNING, SUCCESS, FAILURE, SKIPPED, BYPASSED = (1 << bit for bit in range(6))
STATUS_BITS = 6
ENDED = SUCCESS | FAILURE | SKIPPED | BYPASSED
_STATUS_MASK = (1 << STATUS_BITS) - 1
EVENT_BITS = len(STEP_EVENTS)

STATUS_NAMES = {
    PENDING: "pending",
    RUNNING: "running",
    SUCCESS: "success",
    FAILURE: "failure",
    SKIPPED: "skipped",
    BYPASSED: "bypassed",
}
APPROVAL_STATUS_NAMES = STATUS_NAMES | {
    RUNNING: "awaiting_approval",
    SUCCESS: "approved",
    FAILURE: "rejected",
}
OUTCOME_STATUS = {
    "success": SUCCESS,
    "approved": SUCCESS,
    "failure": FAILURE,
    "rejected": FAILURE,
    "skipped": SKIPPED,
    "bypassed": BYPASSED,
}
"""The status that an outcome word in `needs` asks for."""


def all_pending(steps: int) -> int:
    """The marking of a run that has just started."""
    return sum(PENDING << (STATUS_BITS * index) for index in range(steps))


def status_of(marking: int, index: int) -> int:
    """The one status bit that step `index` has."""
    return marking >> (STATUS_BITS * index) & _STATUS_MASK


_CHUNK = 10
"""So many statuses at a time are taken out of a marking: shifting it for each takes long."""


@lru_cache(maxsize=1024)
def statuses(marking: int, steps: int) -> tuple[int, ...]:
    """The status bit of every step, in order; runs pass through the same few markings."""
    found: list[int] = []
    for start in range(0, steps, _CHUNK):
        chunk = marking >> (STATUS_BITS * start) & ((1 << STATUS_BITS * _CHUNK) - 1)
        for _ in range(min(_CHUNK, steps - start)):
            found.append(chunk & _STATUS_MASK)
            chunk >>= STATUS_BITS
    return tuple(found)


def with_status(marking: int, index: int, status: int) -> int:
    """The marking after step `index` went to `status`."""
    shift = STATUS_BITS * index
    return marking & ~(_STATUS_MASK << shift) | status << shift


def status_mask(index: int, statuses: int) -> int:
    """The bits of a marking that say: step `index` is in one of `statuses`."""
    return statuses << (STATUS_BITS * index)


def status_masks(indexes: Iterable[int], statuses: int) -> int:
    """The bits that say: one of these steps is in one of `statuses`."""
    mask = 0
    for index in indexes:
        mask |= status_mask(index, statuses)
    return mask


def event_bit(index: int, event: str) -> int:
    """The sticky bit of one event of step `index`."""
    return 1 << (EVENT_BITS * index + STEP_EVENTS.index(event))


def event_bits(index: int) -> int:
    """All sticky bits of step `index`."""
    return ((1 << EVENT_BITS) - 1) << (EVENT_BITS * index)
