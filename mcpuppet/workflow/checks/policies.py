"""Checks of policies, compensations and retries: what they reach, and what they leave open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mcpuppet.workflow.checks.subject import Subject, Suggestions, event_names
from mcpuppet.workflow.definition import Definition, RulesDefinition, Step
from mcpuppet.workflow.findings import Code, Finding, Place
from mcpuppet.workflow.yaml_reader import Path

POLICY_NEVER_APPLIES = Code(
    "WF511",
    "policy-never-applies",
    "warning",
    about="A policy matches no call of the workflow, and so limits nothing.",
    help="correct the tool or step under `call`, or remove the policy",
)
RETRY_AFTER_TIMEOUT = Code(
    "WF522",
    "retry-after-timeout",
    "error",
    about="A call is retried after a timeout although it may have taken effect.",
    help="leave `timeout` out of `retry.on`, or add `on_unknown: retry` if two calls do no harm",
)

EVENT_NEVER_HAPPENS = Code(
    "WF517",
    "event-never-happens",
    "warning",
    about="An event or a fact is of a tool that nothing in the file may call.",
    help="correct the name of the tool, or allow it",
)
LIMIT_PER_RUN = Code(
    "WF518",
    "limit-per-run",
    "info",
    about="A limit counts one run only, and whoever starts another run has it anew.",
    help="if that matters, count over more: `per: session`, `per: user` or a period such as `1d`",
)
ROLE_HOLE = Code(
    "WF520",
    "role-hole",
    "error",
    about="The `roles` policies on a call have no role in common, so that nobody may make it.",
    help="leave one role that every `roles` policy on the call accepts",
)
COMPENSATION_MISSING = Code(
    "WF521",
    "compensation-missing",
    "warning",
    about="A later failure undoes another step by its compensation, and leaves the effect of this "
    "one, which has none.",
    help="add `compensate`, or ignore the finding with the reason why the effect may stay",
    beyond_file=True,
)


def policy_never_applies(subject: Subject) -> Iterator[Finding]:
    """WF511: a `call` that matches no tool of the file, or names a step that calls none.

    A policy of a shared file may be for the other files that use it.
    """
    suggestions = Suggestions(subject.coverage.tools, "tools")
    for index, policy in enumerate(subject.definition.policies):
        for at, call in enumerate(policy.call):
            place = subject.document.place(("policies", index, "call", at))
            step = subject.definition.steps.get(call)
            if place.file != subject.document.file:
                continue
            if not _reaches(subject, call):
                what = f"matches {call!r}" if "." in call else f"is in the set {call!r}"
                message = f"policy {policy.id!r} limits nothing: no tool here {what}"
                yield Finding(POLICY_NEVER_APPLIES, place, message, suggestions.help(call))
            elif step is not None and step.approval is not None:
                message = (
                    f"policy {policy.id!r} limits nothing: {call!r} is an approval, not a call"
                )
                yield Finding(POLICY_NEVER_APPLIES, place, message, "name the step that needs it")


def _reaches(subject: Subject, call: str) -> bool:
    patterns = subject.definition.tools.sets.get(call, (call,))
    return any("." not in one or subject.coverage.reaches(one) for one in patterns)


def event_never_happens(subject: Subject) -> Iterator[Finding]:
    """WF517: an event, or the source of a fact, of a tool that nothing here may call."""
    suggestions = Suggestions(subject.coverage.tools, "tools")
    for path, tool, what in _tools_waited_for(subject):
        place = subject.document.place(path)
        if place.file == subject.document.file and not subject.coverage.reaches(tool):
            message = f"{what}: nothing here may call {tool!r}"
            yield Finding(EVENT_NEVER_HAPPENS, place, message, suggestions.help(tool))


def _tools_waited_for(subject: Subject) -> Iterator[tuple[Path, str, str]]:
    for path, text in event_names(subject.definition):
        tool = text.rpartition(".")[0]
        if "." in tool and path[0] != "properties":
            yield path, tool, f"{text!r} never happens"
    for name, fact in subject.definition.facts.items():
        if fact.from_ is not None:
            yield ("facts", name, "from"), fact.from_, f"fact {name!r} is never known"


def limit_per_run(subject: Subject) -> Iterator[Finding]:
    """WF518: a limit on how often or how much that starts again with every run."""
    if isinstance(subject.definition, RulesDefinition):
        return  # there is no run, and `run` is an error
    for index, policy in enumerate(subject.definition.policies):
        if policy.at_most is not None and policy.per == "run":
            place = subject.document.key_place(("policies", index))
            message = (
                f"policy {policy.id!r} counts one run: a model may start another in its session"
            )
            yield Finding(LIMIT_PER_RUN, place, message, LIMIT_PER_RUN.help)


def role_hole(subject: Subject) -> Iterator[Finding]:
    """WF520: a step, or an allowed tool of a rules file, that no role may call."""
    for name, step in subject.definition.steps.items():
        if step.tool is not None and subject.coverage.caller_roles(name) == frozenset():
            place = subject.document.key_place(("steps", name))
            yield _role_hole(subject, f"step {name!r}", place, (name, step.tool[0]))
    for index, word in enumerate(subject.definition.listed_tools):
        if "." in word and subject.coverage.roles_on(None, word) == frozenset():
            path: Path = ("tools", _listed_under(subject.definition), index)
            yield _role_hole(subject, repr(word), subject.document.place(path), (None, word))


def _listed_under(definition: Definition) -> str:
    return "allow" if isinstance(definition, RulesDefinition) else "always"


def _role_hole(subject: Subject, what: str, place: Place, call: tuple[str | None, str]) -> Finding:
    demands = [
        f"{policy.id!r} wants {' or '.join(policy.roles)}"
        for _, policy in subject.coverage.policies_on(*call)
        if policy.roles is not None and policy.over is None
    ]
    message = f"nobody may call {what}: policy {', but '.join(demands[:4])}"
    return Finding(ROLE_HOLE, place, message, "leave one role that all of them accept")


def compensation_missing(subject: Subject) -> Iterator[Finding]:
    """WF521: of two steps before one that may fail, one is undone then and one is not.

    A step before a compensated one is left out: checks and preparations are rarely to be undone.
    Silent where nothing is known of the tools, as what a tool only reads has no effect.
    """
    steps = subject.definition.steps
    if subject.tools is None or all(step.compensate is None for step in steps.values()):
        return
    names, below = tuple(steps), subject.below
    compensated = sum(below.bits[name] for name in names if steps[name].compensate is not None)
    failing = sum(below.bits[name] for name in _failing_the_run(subject))
    undone_by = _undone_by(subject, failing)
    for name in names:
        later = below.sets[name] & failing & undone_by.mask
        is_before = below.sets[name] & compensated
        if later and not is_before and not below.bits[name] & compensated:
            spoiler = names[_lowest(later)]
            if _has_effect(subject, steps[name]):
                yield Finding(
                    COMPENSATION_MISSING,
                    subject.document.key_place(("steps", name)),
                    f"when {spoiler!r} fails, {undone_by.step[spoiler]!r} is undone "
                    f"but the effect of {name!r} stays",
                    "add `compensate: {tool: ...}`",
                )


@dataclass(frozen=True, slots=True)
class _Undone:
    """The steps whose failure undoes something, as bits, and for each a step that it undoes."""

    mask: int
    step: Mapping[str, str]


def _undone_by(subject: Subject, failing: int) -> _Undone:
    names = tuple(subject.definition.steps)
    mask, found = 0, {}
    for name, step in subject.definition.steps.items():
        if step.compensate is not None:
            fresh = subject.below.sets[name] & failing & ~mask
            mask |= fresh
            while fresh:
                found[names[_lowest(fresh)]] = name
                fresh &= fresh - 1
    return _Undone(mask, found)


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _failing_the_run(subject: Subject) -> Iterator[str]:
    """The tool steps whose failure no step waits for and nothing passes over."""
    steps = subject.definition.steps
    waited_for = {
        needed
        for step in steps.values()
        for needed, outcomes in (step.needs.outcomes if step.needs else {}).items()
        if "failure" in outcomes
    }
    for name, step in steps.items():
        if step.tool is not None and step.on_failure == "fail" and name not in waited_for:
            yield name


def _has_effect(subject: Subject, step: Step) -> bool:
    return any(_changes_something(subject, tool) for tool in step.tool or ())


def _changes_something(subject: Subject, tool: str) -> bool:
    known = (subject.tools or {}).get(tool)
    annotations = known.get("annotations") if known is not None else None
    reads_only = isinstance(annotations, Mapping) and annotations.get("readOnlyHint") is True
    return known is not None and not reads_only


def retry_after_timeout(subject: Subject) -> Iterator[Finding]:
    """WF522: a call is retried after a timeout although it may have taken effect."""
    for name, step in subject.definition.steps.items():
        if step.retry is None or "timeout" not in step.retry.on:
            continue
        if step.unknown_word not in ("retry", "retry_with_key"):
            index = step.retry.on.index("timeout")
            yield Finding(
                RETRY_AFTER_TIMEOUT,
                subject.document.place(("steps", name, "retry", "on", index)),
                f"after a timeout it is not known whether {name!r} took effect",
                "add `on_unknown: retry` if calling it twice does no harm",
            )
