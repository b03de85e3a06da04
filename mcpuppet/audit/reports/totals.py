"""How often everything happened that a report tells of: one set of counts for any number of
sessions, which can be added up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts; `oldest` and `newest` are the times of the first and last record that was read.

    `as_of` is the moment for which open and overdue are told. Requests for an approval are those of
    approval steps and of policies that ask about a call. What nobody decided in time counts as
    `timed_out`, also where that rejected a run.
    """

    sessions: int = 0
    sessions_intact: int = 0
    sessions_broken: int = 0
    sessions_pruned: int = 0
    """Whose contents were removed."""
    sessions_signed: int = 0
    """All of whose records are under a checkpoint that they agree with."""
    records: int = 0
    breaks: int = 0
    runs: int = 0
    runs_completed: int = 0
    versions: int = 0
    """Different workflow and rules texts that were in force."""
    calls: int = 0
    allowed: int = 0
    denied: int = 0
    deferred: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    unsettled: int = 0
    """Calls of unknown outcome of which nobody has said yet what became of them."""
    open_calls: int = 0
    resolved: int = 0
    reconciled: int = 0
    repeated: int = 0
    late: int = 0
    contradicted: int = 0
    """Late answers that tell otherwise than what their calls had been settled by, or were then."""
    near_misses: int = 0
    """Calls that rules which only observe would have denied."""
    holds_waiting: int = 0
    requests: int = 0
    granted: int = 0
    rejected: int = 0
    timed_out: int = 0
    waiting: int = 0
    edits: int = 0
    escalations: int = 0
    bypasses: int = 0
    reviews_open: int = 0
    reviews_overdue: int = 0
    reviews_justified: int = 0
    reviews_unjustified: int = 0
    refused_decisions: int = 0
    tools_pinned: int = 0
    tools_changed: int = 0
    people_changes: int = 0
    """People added, given other roles or another token, or disabled."""
    keys_created: int = 0
    disclosures: int = 0
    erasures: int = 0
    prunings: int = 0
    calls_with_credential: int = 0
    calls_with_arguments: int = 0
    calls_with_answer: int = 0
    """Sent calls whose answer is recorded, at least by its digest."""
    replayed: int = 0
    """Decisions that were made again by the recorded texts: the sum of the next four, or more."""
    replay_rederived: int = 0
    replay_consistent: int = 0
    replay_not_derivable: int = 0
    replay_differing: int = 0
    replay_unread: int = 0
    """Sessions that could not be played to their end."""
    oldest: datetime | None = None
    newest: datetime | None = None
    as_of: datetime | None = None

    @property
    def sent(self) -> int:
        """Calls that reached a server, or may have."""
        return self.succeeded + self.failed + self.unknown + self.open_calls

    @property
    def holds_together(self) -> bool:
        """Whether nothing that was checked speaks against the records."""
        return not (self.breaks or self.sessions_broken or self.replay_differing)

    def plus(self, other: Totals) -> Totals:
        """The counts of both; `versions` are added too, so count them apart if some are shared."""
        return Totals(
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
            oldest=min(_known(self.oldest, other.oldest), default=None),
            newest=max(_known(self.newest, other.newest), default=None),
            as_of=max(_known(self.as_of, other.as_of), default=None),
        )


_MOMENTS = {"oldest", "newest", "as_of"}
_COUNTS = tuple(one.name for one in dataclasses.fields(Totals) if one.name not in _MOMENTS)


def _known(*moments: datetime | None) -> list[datetime]:
    return [one for one in moments if one is not None]
