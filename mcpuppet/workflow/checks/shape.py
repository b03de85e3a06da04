"""Checks of shape that one key alone cannot show: keys that belong together, or must not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import (
    PROPERTY_KINDS,
    Property,
    RulesDefinition,
    SettleUnknown,
    Step,
)
from mcpuppet.workflow.findings import DUPLICATE_KEY, MISSING_KEY, WRONG_TYPE, Finding
from mcpuppet.workflow.yaml_reader import Path

_TOOL_ONLY = (
    "args",
    "args_open",
    "returns",
    "success",
    "timeout",
    "retry",
    "repeat",
    "on_unknown",
    "compensate",
    "redact",
)
_PAIRS = ("precedes", "responds", "excludes")


def reserved_step_id(subject: Subject) -> Iterator[Finding]:
    """WF104: `join` cannot name a step, as it is a key of `needs`."""
    if "join" in subject.definition.steps:
        yield Finding(
            WRONG_TYPE,
            subject.document.key_place(("steps", "join")),
            "a step cannot be called 'join': under `needs` that word says how needs are joined",
            "rename the step",
        )


def roles_of_those_asked(subject: Subject) -> Iterator[Finding]:
    """WF105: a rules file that asks about all other tools has a role whose people can decide."""
    definition = subject.definition
    if not isinstance(definition, RulesDefinition) or definition.roles:
        return
    if definition.tools.otherwise == "ask":
        yield Finding(
            MISSING_KEY,
            subject.document.place(("tools", "otherwise")),
            "`otherwise: ask` asks people with a role of this file, and it has no `roles`",
            "list the roles that may decide at the top of the file, as in `roles: [owner]`",
        )


def kind_of_step(subject: Subject) -> Iterator[Finding]:
    """WF105: a step is exactly one of a tool call and an approval."""
    for name, step in subject.definition.steps.items():
        if (step.tool is None) == (step.approval is None):
            what = "neither `tool` nor `approval`" if step.tool is None else "both kinds"
            yield Finding(
                MISSING_KEY,
                subject.document.key_place(("steps", name)),
                f"step {name!r} has {what}",
                "give it `tool: server.tool` or `approval: {roles: [...], timeout: 4h}`",
            )


def keys_of_the_other_kind(subject: Subject) -> Iterator[Finding]:
    """WF104: keys that mean something for the other kind of step only."""
    for name, step in subject.definition.steps.items():
        if step.tool is not None and step.approval is not None:
            continue
        for path in _misplaced(step):
            kind, other = ("tool", "approvals") if step.approval is None else ("approval", "tools")
            yield Finding(
                WRONG_TYPE,
                subject.document.key_place(("steps", name, *path)),
                f"step {name!r} is {'an' if kind == 'approval' else 'a'} {kind} step: "
                f"`{'.'.join(map(str, path))}` is for {other} only",
            )


def ways_to_settle_unknown(subject: Subject) -> Iterator[Finding]:
    """WF105: `on_unknown` as a mapping says one thing; WF104: the key's argument is nobody's."""
    for name, step in subject.definition.steps.items():
        one = step.on_unknown
        path: Path = ("steps", name, "on_unknown")
        if isinstance(one, SettleUnknown) and (one.retry_with_key is None) == (
            one.reconcile is None
        ):
            yield Finding(
                MISSING_KEY,
                subject.document.key_place(path),
                f"`on_unknown` of step {name!r} has "
                f"{'neither' if one.reconcile is None else 'both'} of `retry_with_key` and "
                "`reconcile`",
                "exactly one of: retry_with_key, reconcile",
            )
        elif step.key_argument is not None and step.key_argument in (step.args or {}):
            yield Finding(
                WRONG_TYPE,
                subject.document.key_place(("steps", name, "args", step.key_argument)),
                f"the argument {step.key_argument!r} is filled in by the gateway: "
                "no client may give it",
                "leave it out of `args`",
            )


def _misplaced(step: Step) -> Iterator[Path]:
    is_tool = step.approval is None
    for key in ("elicit",) if is_tool else _TOOL_ONLY:
        if key in step.model_fields_set:
            yield (key,)
    wrong = "rejected" if is_tool else "failure"
    if step.on is not None and wrong in step.on.model_fields_set:
        yield ("on", wrong)


def incomplete_approval(subject: Subject) -> Iterator[Finding]:
    """WF105: `on_timeout: escalate` says to whom, and `escalate_to` goes with it."""
    for name, step in subject.definition.steps.items():
        approval = step.approval
        if approval and approval.on_timeout != "escalate" and approval.escalate_to is not None:
            yield Finding(
                MISSING_KEY,
                subject.document.key_place(("steps", name, "approval", "escalate_to")),
                f"step {name!r} says to whom it escalates, and never does",
                "add `on_timeout: escalate`",
            )
        if approval and approval.on_timeout == "escalate" and approval.escalate_to is None:
            yield Finding(
                MISSING_KEY,
                subject.document.place(("steps", name, "approval", "on_timeout")),
                f"step {name!r} escalates to nobody",
                "add `escalate_to: <role>`",
            )


def kinds_of_properties(subject: Subject) -> Iterator[Finding]:
    """WF105: a property makes exactly one claim; WF104: a claim about two events names two."""
    for index, claim in enumerate(subject.definition.properties):
        kinds = [key for key in PROPERTY_KINDS if getattr(claim, key) is not None]
        if len(kinds) != 1:
            yield Finding(
                MISSING_KEY,
                subject.document.place(("properties", index)),
                f"property {claim.id!r} has {counted(kinds, 'claim')}",
                f"exactly one of: {', '.join(PROPERTY_KINDS)}",
            )
        yield from _parts_of_property(subject, index, claim)


def properties_of_rules(subject: Subject) -> Iterator[Finding]:
    """WF104: a rules file has no run, and so nothing to prove about one."""
    if isinstance(subject.definition, RulesDefinition) and subject.definition.properties:
        yield Finding(
            WRONG_TYPE,
            subject.document.key_place(("properties",)),
            "a rules file has no run that a property could be proved about",
            "write a policy, which every call is held to",
        )


def _parts_of_property(subject: Subject, index: int, claim: Property) -> Iterator[Finding]:
    for key in _PAIRS:
        events = getattr(claim, key)
        if events is not None and len(events) != 2:
            yield Finding(
                WRONG_TYPE,
                subject.document.place(("properties", index, key)),
                f"`{key}` of property {claim.id!r} takes two events, found {len(events)}",
                f"{key}: [first.call, second.call]; either may be a list, meaning any of",
            )
    needs_of = next(
        (key for key in ("concurrent", "at_most") if getattr(claim, key) is not None), ""
    )
    if needs_of and claim.of is None:
        place = subject.document.key_place(("properties", index, needs_of))
        yield Finding(MISSING_KEY, place, f"property {claim.id!r} has `{needs_of}` without `of`")
    if claim.unless is not None and claim.precedes is None:
        place = subject.document.key_place(("properties", index, "unless"))
        yield Finding(MISSING_KEY, place, f"property {claim.id!r} has `unless` without `precedes`")


def counted(found: Sequence[str], noun: str) -> str:
    """How many there are, and which."""
    if not found:
        return f"no {noun}"
    return f"{len(found)} {noun}s: {', '.join(found)}"


def duplicate_ids(subject: Subject) -> Iterator[Finding]:
    """WF102: two policies, or two properties, with one id; a step and a tool set of one name."""
    definition = subject.definition
    sections: tuple[tuple[str, str, list[str]], ...] = (
        ("policies", "policy", [policy.id for policy in definition.policies]),
        ("properties", "property", [claim.id for claim in definition.properties]),
    )
    for key, noun, ids in sections:
        seen: dict[str, int] = {}
        for index, one in enumerate(ids):
            if seen.setdefault(one, index) < index:
                first = subject.document.place((key, seen[one], "id"))
                yield Finding(
                    DUPLICATE_KEY,
                    subject.document.place((key, index, "id")),
                    f"{noun} id {one!r} is given twice",
                    f"the first is on line {first.line}",
                )
    for name in definition.tools.sets:
        if name in definition.steps:
            yield Finding(
                DUPLICATE_KEY,
                subject.document.key_place(("tools", "sets", name)),
                f"{name!r} is a step and a tool set: `call: {name}` could mean either",
                "rename the set",
            )
