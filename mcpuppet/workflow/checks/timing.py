"""Checks of time: whether all that is asked of when calls happen can hold together.

`within`, `cooldown`, `needs` and the timeout of the run bound the time between two events from
above or below. Such bounds can all hold exactly if no circle of them adds up to more than nothing
(a simple temporal network: Dechter, Meiri, Pearl, "Temporal constraint networks", 1991), which
Bellman and Ford's algorithm finds.

What a run may do is never bounded here: a person's decision, a `repeat` and a call that a person
has to settle take as long as they take. A call is taken to end within its `timeout`, or within two
minutes as the gateway's settings have it where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.compiled import longest_wait
from mcpuppet.workflow.definition import (
    Policy,
    Step,
    WorkflowDefinition,
    format_duration,
)
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.graph import topological_order, wanted_outcomes
from mcpuppet.workflow.hours import Hours
from mcpuppet.workflow.yaml_reader import Path

TIME_INFEASIBLE = Code(
    "WF515",
    "time-infeasible",
    "error",
    about="What is asked of the times of calls cannot all hold: the call is never made.",
    help="lengthen `within`, `hours` or the timeout of the run, or shorten `cooldown`",
)
FRESH_APPROVAL_EXPIRES = Code(
    "WF516",
    "fresh-approval-can-expire-for-good",
    "warning",
    about="A call needs a fresh approval, and an approval that has become stale is never asked "
    "for again.",
    help="add `renew: 1` to the approval, so that a stale one is asked for again",
)

_USUAL_TIMEOUT = timedelta(minutes=2)
_GRANTS = frozenset({"approved", "bypassed"})
_MOST_FOUND = 20
_MOST_ROUNDS = 100
"""Bounds that have not settled after so many rounds are taken to be able to hold."""
_NOTHING = timedelta(0)
# A week of winter and one of summer: opening hours repeat every week, but for the clock changes.
_WEEKS = (datetime(2027, 1, 4, tzinfo=UTC), datetime(2027, 7, 5, tzinfo=UTC))
_WEEK = timedelta(days=8)


def fresh_approval_expires(subject: Subject) -> Iterator[Finding]:
    """WF516: `within ... of` an approval that is not renewed."""
    for index, policy in enumerate(subject.definition.policies):
        for at, event in enumerate(policy.of or ()):
            name, _, word = event.partition(".")
            step = subject.definition.steps.get(name)
            approval = step.approval if step is not None else None
            if approval is not None and approval.renew == 0 and word in _GRANTS:
                yield Finding(
                    FRESH_APPROVAL_EXPIRES,
                    subject.document.place(("policies", index, "of", at)),
                    f"{name!r} is never asked for again once it is older than "
                    f"{format_duration(policy.within or _NOTHING)}",
                    f"add `renew: 1` to the approval {name!r}",
                )
                break


# Opening hours


def never_open(subject: Subject) -> Iterator[Finding]:
    """WF515: a call under several opening hours that are never open together."""
    checked: dict[tuple[int, ...], bool] = {}
    for step, tool, place in _calls(subject):
        limiting = [
            (index, policy.hours, policy.id)
            for index, policy in subject.coverage.policies_on(step, tool)
            if policy.hours is not None
        ]
        key = tuple(index for index, _, _ in limiting)
        if key not in checked:
            checked[key] = _open_together([hours for _, hours, _ in limiting])
            if not checked[key]:
                ids = " and ".join(repr(one) for _, _, one in limiting)
                message = f"{step or tool!r} can never be called: {ids} are never open together"
                yield Finding(TIME_INFEASIBLE, place, message, "let the opening hours overlap")


def _calls(subject: Subject) -> Iterator[tuple[str | None, str, Place]]:
    for name, step in subject.definition.steps.items():
        for tool in step.tool or ():
            yield name, tool, subject.document.key_place(("steps", name))
    key = "always" if isinstance(subject.definition, WorkflowDefinition) else "allow"
    for index, tool in enumerate(subject.definition.listed_tools):
        yield None, tool, subject.document.place(("tools", key, index))


def _open_together(hours: Sequence[Hours]) -> bool:
    return len(hours) < 2 or any(_open_in_week(hours, start) for start in _WEEKS)


def _open_in_week(hours: Sequence[Hours], start: datetime) -> bool:
    moment = start
    while moment < start + _WEEK:
        latest = max(one.next_opening(moment) for one in hours)
        if all(one.open_at(latest) for one in hours):
            return True
        moment = latest
    return False


# The temporal network


@dataclass(frozen=True, slots=True)
class _Bound:
    """The event `later` happens at least `least` after `earlier`; a negative one bounds it above.

    Events are numbered: the call of the n-th step 2n, its end 2n + 1.
    """

    earlier: int
    later: int
    least: timedelta
    policy: int | None = None


def time_infeasible(subject: Subject) -> Iterator[Finding]:
    """WF515: calls that have to be close together and are kept apart, or outlast the run."""
    if not isinstance(subject.definition, WorkflowDefinition):
        return
    network = _Network(subject)
    if not network.cooldowns:
        return
    yield from _outlasting(subject, subject.definition.timeout, network)
    close = network.closeness()
    for _ in range(_MOST_FOUND):
        circle = _circle([*network.bounds, *close], 2 * len(subject.definition.steps))
        if not circle:
            return
        yield _circle_finding(subject, circle)
        blamed = {bound.policy for bound in circle if bound.least < _NOTHING}
        close = [bound for bound in close if bound.policy not in blamed]


def _outlasting(subject: Subject, timeout: timedelta, network: _Network) -> Iterator[Finding]:
    """Calls whose cooldowns alone last longer than the run; only the first of a chain."""
    at = [_NOTHING] * (2 * len(subject.definition.steps))
    for bound in network.bounds:
        if bound.least >= _NOTHING:
            reached = at[bound.earlier] + bound.least
            if reached > timeout >= at[bound.later] and at[bound.earlier] <= timeout:
                name = network.names[bound.later // 2]
                yield Finding(
                    TIME_INFEASIBLE,
                    subject.document.key_place(("steps", name)),
                    f"{name!r} can be called {format_duration(reached)} after the start at the "
                    f"earliest, and the run ends after {format_duration(timeout)}",
                    "lengthen `timeout`, or shorten `cooldown`",
                )
            at[bound.later] = max(at[bound.later], reached)


class _Network:
    """The bounds that a workflow sets. `bounds` are in an order in which each settles at once."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.names = tuple(subject.definition.steps)
        self._number = {name: index for index, name in enumerate(self.names)}
        self.cooldowns = {
            index: policy.cooldown
            for index, policy in enumerate(subject.definition.policies)
            if policy.cooldown is not None
        }
        self._limited: dict[str, frozenset[int]] = {}
        self.bounds: list[_Bound] = []
        if self.cooldowns:
            self._limited = {name: self._policies_on(name) for name in self.names}
            self.bounds = list(self._all_bounds())

    def _policies_on(self, name: str) -> frozenset[int]:
        """The policies that limit a step with whichever of its tools."""
        tools = self._subject.definition.steps[name].tool or ()
        found = [
            frozenset(index for index, _ in self._subject.coverage.policies_on(name, tool))
            for tool in tools
        ]
        return frozenset.intersection(*found) if found else frozenset()

    def _all_bounds(self) -> Iterator[_Bound]:
        nearest: dict[str, dict[int, frozenset[str]]] = {}
        for name in topological_order(self._subject.graph):
            start = 2 * self._number[name]
            before = self._called_before(name)
            nearest[name] = self._nearest(before, nearest)
            for needed in before:
                yield _Bound(2 * self._number[needed] + 1, start, _NOTHING)
            for index, others in nearest[name].items():
                if index in self._limited[name]:
                    for other in others:
                        yield _Bound(
                            2 * self._number[other], start, self.cooldowns[index], policy=index
                        )
            yield _Bound(start, start + 1, _NOTHING)
            longest = _longest_call(self._subject.definition.steps[name])
            if longest is not None:
                yield _Bound(start + 1, start, -longest)

    def _called_before(self, name: str) -> list[str]:
        """The needed steps that were called, and have ended, whenever this one starts."""
        step = self._subject.definition.steps[name]
        if step.needs is None or (step.needs.join == "any" and len(step.needs.outcomes) > 1):
            return []
        wanted = wanted_outcomes(self._subject.definition, step)
        return [needed for needed, outcomes in wanted.items() if "skipped" not in outcomes]

    def _nearest(
        self, before: Sequence[str], nearest: dict[str, dict[int, frozenset[str]]]
    ) -> dict[int, frozenset[str]]:
        """Per cooldown the last steps under it on each way to a step; of many some are enough."""
        found: dict[int, frozenset[str]] = {}
        for needed in before:
            own = {
                index: frozenset({needed})
                for index in self._limited[needed] & self.cooldowns.keys()
            }
            for index, others in {**nearest[needed], **own}.items():
                if len(found.get(index, ())) < 8:
                    found[index] = found.get(index, frozenset()) | others
        return found

    def closeness(self) -> list[_Bound]:
        """The bounds of `within`, where it names the events of one step that happens once."""
        again = _repeatable(self._subject)
        found = []
        for index, policy in enumerate(self._subject.definition.policies):
            event = _one_event(policy)
            if event is None or policy.within is None or event[0] in again:
                continue
            source = 2 * self._number[event[0]] + (event[1] != "call")
            for name in self.names:
                if index in self._limited[name]:
                    target = 2 * self._number[name]
                    found.append(_Bound(target, source, -policy.within, index))
        return found


def _one_event(policy: Policy) -> tuple[str, str] | None:
    """The step whose call or end `within` counts from, if it names no other."""
    events = [event.split(".") for event in policy.of or ()]
    if not events or any(len(event) != 2 or event[1] == "skipped" for event in events):
        return None
    names = {(event[0], "call" if event[1] == "call" else "end") for event in events}
    return next(iter(names)) if len(names) == 1 else None


def _repeatable(subject: Subject) -> frozenset[str]:
    """Steps whose events may come again, later than what depends on their first ones."""
    found = set()
    for name, step in subject.definition.steps.items():
        if step.approval is not None and step.approval.renew:
            found.add(name)
        for redo in (step.on.failure, step.on.rejected) if step.on is not None else ():
            if redo is not None:
                found |= {name, *redo.redo}
    return frozenset(found)


def _longest_call(step: Step) -> timedelta | None:
    if step.tool is None or step.repeat is not None:
        return None
    attempts, waits = 1, _NOTHING
    if step.retry is not None:
        attempts, waits = step.retry.attempts, longest_wait(step.retry)
    return attempts * (step.timeout or _USUAL_TIMEOUT) + waits


def _circle(bounds: Sequence[_Bound], events: int) -> list[_Bound]:
    """Bounds in a circle that cannot all hold, or none: longest ways, relaxed until they settle."""
    at = [_NOTHING] * events
    through: dict[int, _Bound] = {}
    for _ in range(_MOST_ROUNDS):
        changed = False
        for bound in bounds:
            reached = at[bound.earlier] + bound.least
            if reached > at[bound.later]:
                at[bound.later], through[bound.later], changed = reached, bound, True
        circle = _circle_of(through) if changed else []
        if circle or not changed:
            return circle
    return []


def _circle_of(through: dict[int, _Bound]) -> list[_Bound]:
    """The bounds of a circle in which every event was last moved by the one before, if any."""
    seen: dict[int, int] = {}
    for start in through:
        way: list[_Bound] = []
        event = start
        while event in through and event not in seen:
            seen[event] = start
            way.append(through[event])
            event = through[event].earlier
        if event in through and seen.get(event) == start:
            first = next(index for index, bound in enumerate(way) if bound.later == event)
            return way[first:]
    return []


def _circle_finding(subject: Subject, circle: Sequence[_Bound]) -> Finding:
    policies, names = subject.definition.policies, tuple(subject.definition.steps)
    close = next(one for one in circle if one.policy is not None and one.least < _NOTHING)
    apart = [one for one in circle if one.policy is not None and one.least > _NOTHING]
    assert close.policy is not None
    within = policies[close.policy]
    kept = ", ".join(
        dict.fromkeys(
            f"{policies[one.policy].id!r} keeps {names[one.later // 2]!r} "
            f"{format_duration(one.least)} behind {names[one.earlier // 2]!r}"
            for one in apart
            if one.policy is not None
        )
    )
    path: Path = ("policies", close.policy, "within")
    return Finding(
        TIME_INFEASIBLE,
        subject.document.key_place(path),
        f"{names[close.earlier // 2]!r} can never be called: policy {within.id!r} wants it within "
        f"{format_duration(within.within or _NOTHING)} of {' or '.join(within.of or ())}, "
        f"but policy {kept}",
        f"make `within` longer, or `cooldown` shorter, than {format_duration(apart[0].least)}",
    )
