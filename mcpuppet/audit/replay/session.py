"""One session played again: every cause in its records acts on a state that was made by the others.

A cause (a request to call a tool, an outcome, a person's word, a deadline) is taken from its
record; what it leads to is worked out by the code that governs sessions, and has to be what the
records say, one by one, to the byte. Every request is decided again, by the same rules, for the
same principal, at the time of its record. Deliberately knows no store and no settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from mcpuppet.audit.replay.causes import Causes, may_be_late
from mcpuppet.audit.replay.following import had
from mcpuppet.audit.replay.records import DECISIONS, REDACTED, Entry, Stuck, Underivable
from mcpuppet.errors import AuditError
from mcpuppet.session.amounts import require_amount
from mcpuppet.session.asked import Circumstances, opened_request, refused_call, shown_values
from mcpuppet.session.call import MAX_SHOWN_BYTES, Call, Principal
from mcpuppet.session.consequences import Progress
from mcpuppet.session.decision import AskNeeded, Books, Decision, govern
from mcpuppet.session.fate import waiting_calls
from mcpuppet.session.intent import start_call
from mcpuppet.session.reservations import LockHolder, Reservations, Reserved, Use
from mcpuppet.session.state import SessionState
from mcpuppet.session.verdict import Allowed, ApprovalNeeded, Denied

NO_SETTINGS = "an earlier version recorded it, without what the settings said"
TOO_LONG = "the arguments were not kept"
OTHER_SESSIONS = "other sessions"
SETTINGS = "settings"
ROLES = "roles"
_OUTSIDE = {
    "arguments": TOO_LONG,
    "idempotency_key": "the key that the client gave is not recorded with a refusal",
    "schema": "the tool's own input schema is not recorded",
    "server_unavailable": "it depended on the tool's server",
    "unknown_tool": "it depended on what the servers listed",
    "ambiguous_tool": "it depended on what the servers listed",
    "disabled_tool": "it depended on what the servers listed",
}
"""Rules of the gateway that read what no record tells, and why they are not derivable."""
_BLIND = frozenset(
    {"needs", "done", "skipped", "running", "failing", "held", "not_before", "no_run", "unlisted"}
)
"""Built-in rules that read no value, so that no redaction changes what they say."""


class SessionReplay(Causes):
    """Plays one session from its records, and counts into a tally."""

    def play(self) -> None:
        """Play all records."""
        try:
            while (entry := self._records.peek()) is not None:
                self._take(entry)
        except Stuck as stuck:
            self._tally.unread[str(stuck)] += 1

    def _take(self, entry: Entry) -> None:
        data = entry.read()
        self._redacted = self._redacted or entry.hides_values
        if entry.kind in DECISIONS:
            if data.get("reconcile"):
                self._arguments[str(data.get("call_id"))] = data.get("arguments")
            self._decision(entry, data)
            return
        try:
            act = self._act_of(entry, data)
            if self._follow(entry, act, may_be_late(entry, data)):
                self._tally.followed += 1
        except Underivable as why:
            self._tally.unfollowed[str(why)] += self._go_on(entry)
        except Stuck:
            raise
        except Exception as error:  # noqa: BLE001 - a forged record is reported, whatever it raises
            self._mismatch(entry, f"impossible: {error}")
            self._go_on(entry)

    # --- decisions ------------------------------------------------------------------------------

    def _decision(self, entry: Entry, data: Mapping[str, Any]) -> None:
        """Decide again on what a record decides on, and count how far that could be done."""
        self._tally.decisions += 1
        try:
            if data.get("purpose") == "reconcile":
                if self._follow(entry, partial(_begin_reading, data)):
                    self._tally.rederived += 1
                return
            asked = self._asked(entry, data)
            decided: list[Decision] = []
            act = partial(self._decide, asked, decided)
            self._require_derivable(entry, asked)
            if not self._follow(entry, act, reserved=asked.reserved):
                return
        except Underivable as why:
            self._tally.not_derivable[str(why)] += 1
            self._unfold(entry)
        except Stuck:
            raise
        except Exception as error:  # noqa: BLE001 - a forged record is reported, whatever it raises
            self._mismatch(entry, f"impossible: {error}")
            self._go_on(entry)
        else:
            self._count(entry, asked, decided[0])

    def _require_derivable(self, entry: Entry, asked: _Asked) -> None:
        """Raise Underivable where the decision was made from what is not in the trail."""
        if entry.read()["arguments"] is None:
            _require_too_long(entry)
            if not self._is_refused_blindly(entry, asked):
                raise Underivable(TOO_LONG)
        if self._is_outside(entry, asked):
            raise Underivable(_OUTSIDE[str(entry.read()["rule"])])
        if self._is_blurred(entry, asked):
            raise Underivable(REDACTED)

    def _unfold(self, entry: Entry) -> None:
        """Take a decision that is not made again as it is recorded."""
        self._fold()
        follows = self._records.peek()
        if entry.kind == "AskOpened" and follows is not None:
            follows.read()
            if follows.kind == "CallDeferred" and follows.at == entry.at:
                self._fold()

    def _count(self, entry: Entry, asked: _Asked, decision: Decision) -> None:
        reads_settings = decision.step is None and len(asked.there.settings) > 2
        if entry.hides:
            self._tally.consistent[REDACTED] += 1
        elif any("key" in one for one in asked.verdicts):
            self._tally.consistent[OTHER_SESSIONS] += 1
        elif asked.roles.were_read:
            self._tally.consistent[ROLES] += 1
        elif reads_settings:
            self._tally.consistent[SETTINGS] += 1
        else:
            self._tally.rederived += 1

    def _asked(self, entry: Entry, data: Mapping[str, Any]) -> _Asked:
        """The request that a record decides on."""
        if entry.kind == "AskOpened":
            shown = self._records.peek(1)
            more = {} if shown is None else shown.read()
            if shown is None or shown.kind != "CallDeferred":
                raise AuditError("a request that no call asked for")
            data = {**more, **{name: data[name] for name in ("tool", "arguments")}}
        settings = data.get("settings")
        if not settings and not self._names_settings:
            raise Underivable(NO_SETTINGS)
        if not settings:
            raise AuditError("what the settings said has been left out")
        self._names_settings = True
        known = {} if data["arguments"] is None else data["arguments"]
        roles = _Roles(settings["roles"])
        return _Asked(
            roles=roles,
            call_id=str(data["call_id"]),
            call=Call(str(data["tool"]), known, entry.raw["arguments"]),
            who=Principal(str(data["principal"]), roles),
            there=Circumstances(
                str(data["node"]),
                str(data["credential"]),
                settings,
                str(data.get("request", "")),
                data.get("client_key"),
            ),
            verdicts=data["verdicts"],
            reserved=_reserved(data["verdicts"], entry.moment),
        )

    def _books(self, asked: _Asked, state: SessionState) -> Books:
        """What governed a call: the active run's workflow or else the one that the record names."""
        settings = asked.there.settings
        workflow = self._workflow_now() if state.active_run is not None else None
        named = settings.get("workflow")
        if state.active_run is None and named is not None:
            workflow = had(self._texts.workflow(str(named)))
        return Books(
            workflow,
            self._rules_now(),
            settings.get("unlisted", "deny"),
            bool(settings.get("listed", True)),
            bool(settings.get("ordered", False)),
        )

    def _govern(self, asked: _Asked, progress: Progress) -> Decision:
        state = progress.state
        if state.principal != asked.who.name:
            return Denied("owner", "the session belongs to somebody else")
        books = self._books(asked, state)
        return govern(books, state, asked.call, asked.who, progress.source.now, progress.reserved)

    def _decide(self, asked: _Asked, decided: list[Decision], progress: Progress) -> None:
        """Decide, and say so as the gateway does."""
        decided.append(self._govern(asked, progress))
        decision, now = decided[0], progress.source.now
        if isinstance(decision, AskNeeded):
            name, seen = self._new_id("apr"), self._seen(decision, asked.call)
            opened, decision = opened_request(decision, asked.call, asked.who, name, now, seen)
            progress.emit(opened)
        if isinstance(decision, Allowed):
            start_call(progress, asked.call_id, asked.call, asked.who, decision, asked.there)
            return
        told = (asked.call_id, asked.call, asked.who)
        progress.emit(refused_call(progress.state, *told, decision, asked.there))

    def _seen(self, needed: AskNeeded, call: Call) -> dict[str, str]:
        """Where the values that people were shown had been seen: as it was recorded."""
        entry = self._records.peek()
        told = {} if entry is None else entry.read()
        known = {one["path"]: one["seen"] for one in told.get("show", ())}
        return {path: known.get(path, "") for path, _ in shown_values(needed, call)}

    def _is_refused_blindly(self, entry: Entry, asked: _Asked) -> bool:
        """Whether a call that was made had been refused whatever its arguments were."""
        decision = self._probe(entry, asked) if entry.kind == "CallStarted" else None
        return isinstance(decision, Denied) and decision.rule in _BLIND

    def _is_outside(self, entry: Entry, asked: _Asked) -> bool:
        """Whether a refusal was one of the gateway's own, and nothing speaks against that."""
        data = entry.read()
        if entry.kind != "CallDenied" or data["rule"] not in _OUTSIDE:
            return False
        decision = self._probe(entry, asked)
        if isinstance(decision, Denied) and decision.rule == data["rule"]:
            return False  # a policy of that name
        return not isinstance(decision, Denied) or data["rule"] != "schema"

    def _is_blurred(self, entry: Entry, asked: _Asked) -> bool:
        """Whether a decision comes out differently, and a redacted value may be why."""
        if not self._redacted and not entry.hides:
            return False
        decision = self._probe(entry, asked)
        if isinstance(decision, ApprovalNeeded) and self._is_undecided(decision.approval_id):
            return False  # no value stands for a person's word
        data = entry.read()
        kinds = {Allowed: "CallStarted", Denied: "CallDenied", AskNeeded: "AskOpened"}
        same_kind = kinds.get(type(decision), "CallDeferred") == entry.kind
        if isinstance(decision, Denied) and same_kind:
            return decision.rule != data["rule"] and decision.rule not in _BLIND
        return not same_kind and not (isinstance(decision, Denied) and decision.rule in _BLIND)

    def _is_undecided(self, approval_id: str) -> bool:
        """Whether an approval of the run is open, by the records."""
        run = None if self._state is None else self._state.active_run
        requests = () if run is None else run.approvals.values()
        return any(one.approval_id == approval_id and one.status == "open" for one in requests)

    def _probe(self, entry: Entry, asked: _Asked) -> Decision:
        return self._govern(asked, self._progress(entry.moment, asked.reserved))


class _Roles(frozenset[str]):
    """A principal's roles, which only the record of a decision tells, and whether they counted."""

    were_read = False

    def __rand__(self, other: AbstractSet[str]) -> frozenset[str]:
        self.were_read = True
        return frozenset(other & frozenset(self))

    def __iter__(self) -> Iterator[str]:
        self.were_read = True
        return super().__iter__()


@dataclass(slots=True)
class _Asked:
    """A request for a call, as a record tells of it."""

    roles: _Roles
    call_id: str
    call: Call
    who: Principal
    there: Circumstances
    verdicts: Sequence[Mapping[str, Any]]
    reserved: Reserved | None


def _require_too_long(entry: Entry) -> None:
    """Raise AuditError for arguments that a record does not hold and would have held."""
    data = entry.read()
    is_unfit = entry.kind == "CallDenied" and data["rule"] == "arguments"
    size = data.get("arguments_bytes")
    if not is_unfit and not (isinstance(size, int) and size > MAX_SHOWN_BYTES):
        raise AuditError("arguments that are short enough to be kept are not there")


def _begin_reading(data: Mapping[str, Any], progress: Progress) -> None:
    """A call of the gateway's own, which an intent whose outcome is unknown has announced."""
    for call in waiting_calls(progress.state):
        if call.step == data["step"]:
            progress.begin_reading(call.call_id, data["call_id"], data["node"])


def _reserved(verdicts: Iterable[Mapping[str, Any]], at: datetime) -> Reserved | None:
    """What other sessions had reserved, as a record says; None where it names nothing."""
    uses: dict[str, tuple[Use, ...]] = {}
    locks: dict[str, LockHolder] = {}
    for one in verdicts:
        key = one.get("key")
        if isinstance(key, str) and isinstance(one.get("used"), str):
            amount = Decimal(one["used"])
            require_amount(amount)
            uses[key] = (Use(at, amount),)
        elif isinstance(key, str) and one.get("holder"):
            session_id, call_id = one["holder"]
            locks[key] = LockHolder(session_id, call_id)
    if not uses and not locks:
        return None
    return Reserved(Reservations(uses, locks), (dict.fromkeys(uses), locks.keys()))
