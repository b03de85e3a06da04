"""Checks of who decides, and on what: people who may not, or cannot, and values left open.

Owns no question of time (`timing`) and none of reach: whether a run gets to an approval is asked by
the exploration of states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import Approval, Equals, Policy, Step
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.graph import wanted_outcomes
from mcpuppet.workflow.yaml_reader import Path

NO_APPROVER = Code(
    "WF501",
    "no-approver",
    "error",
    about="Those who may make a call and those who may decide on it are the same: nobody else ever "
    "looks at it.",
    help="let a role decide that the `roles` policies on the call do not name",
)
QUORUM_IMPOSSIBLE = Code(
    "WF502",
    "quorum-impossible",
    "error",
    about="More people have to agree than there are people who may.",
    help="lower `quorum`, or give more people one of the roles (`mcpuppet user add`)",
    beyond_file=True,
)
SELF_APPROVAL = Code(
    "WF503",
    "self-approval-possible",
    "warning",
    about="With `separation: false` the person who started a run may approve its steps too.",
    help="drop `separation: false`",
)
BYPASS_BY_CALLER = Code(
    "WF506",
    "bypass-role-equals-caller-role",
    "error",
    about="Those who may make a call may also bypass the approval that it needs.",
    help="leave the bypass to a role that the `roles` policies on the call do not name",
)
UNBOUND_APPROVAL = Code(
    "WF507",
    "unbound-approval",
    "warning",
    about="An approval binds no values, and a call that needs it is free in some arguments: when "
    "the approval is asked for before the call was attempted, it holds for any values of them.",
    help="bind the values under `binds` and fix the arguments: `args: {x: {equals: inputs.x}}`",
)
ELICIT_ALONE = Code(
    "WF525",
    "elicit-decides-alone",
    "warning",
    about="One yes decides, and it may come through the agent's own client (`elicit`), which "
    "proves that the client said yes and not which human did, or whether one did.",
    help="set `quorum: 2`, so that a person with a token has to agree as well, or drop `elicit`",
)

_GRANTS = frozenset({"approved", "bypassed"})


@dataclass(frozen=True, slots=True)
class _Deciders:
    """Who decides on what: an approval, or a policy that asks."""

    path: Path
    roles: Sequence[str]
    quorum: int
    what: str


def no_approver(subject: Subject) -> Iterator[Finding]:
    """WF501: an approval, or an `ask`, that the callers decide on among themselves."""
    for name, approval, dependents in _approvals(subject):
        deciders = {*approval.roles, *filter(None, [approval.escalate_to])}
        for dependent in dependents if approval.separation else ():
            callers = subject.coverage.caller_roles(dependent)
            if callers == frozenset(deciders):
                path: Path = ("steps", name, "approval", "roles")
                yield _no_approver(subject, path, repr(name), repr(dependent), deciders)
    for index, policy in enumerate(subject.definition.policies):
        asked = _asked(index, policy)
        for call in policy.call if asked is not None else ():
            callers = _callers(subject, call)
            if asked is not None and callers == frozenset(asked.roles):
                yield _no_approver(subject, asked.path, asked.what, repr(call), set(asked.roles))


def _callers(subject: Subject, call: str) -> frozenset[str] | None:
    if call in subject.definition.steps:
        return subject.coverage.caller_roles(call)
    return subject.coverage.roles_on(None, call)


def _no_approver(subject: Subject, path: Path, what: str, call: str, roles: set[str]) -> Finding:
    return Finding(
        NO_APPROVER,
        subject.document.place(path),
        f"only {_joined(roles)} may decide on {what}, and only the same may call {call}",
        NO_APPROVER.help,
    )


def _joined(roles: set[str]) -> str:
    return " and ".join(map(repr, sorted(roles)))


def quorum_impossible(subject: Subject) -> Iterator[Finding]:
    """WF502: more people have to agree than hold one of the roles; silent where that is unknown."""
    if subject.people is None:
        return
    for one in _all_deciders(subject):
        people = sum(subject.people.get(role, 0) for role in set(one.roles))
        if people < one.quorum:
            who = f"{people} {'person holds' if people == 1 else 'people hold'}"
            needed = f"{one.quorum} {'person has' if one.quorum == 1 else 'people have'}"
            yield Finding(
                QUORUM_IMPOSSIBLE,
                subject.document.place(one.path),
                f"{needed} to decide on {one.what}, and {who} {_any_of(one.roles)}",
                QUORUM_IMPOSSIBLE.help,
            )


def _any_of(roles: Sequence[str]) -> str:
    return f"the role {' or '.join(map(repr, roles))}"


def _all_deciders(subject: Subject) -> Iterator[_Deciders]:
    for name, step in subject.definition.steps.items():
        if step.approval is not None:
            path: Path = ("steps", name, "approval")
            key = "quorum" if step.approval.quorum > 1 else "roles"
            yield _Deciders((*path, key), step.approval.roles, step.approval.quorum, repr(name))
    for index, policy in enumerate(subject.definition.policies):
        asked = _asked(index, policy)
        if asked is not None:
            yield asked


def _asked(index: int, policy: Policy) -> _Deciders | None:
    """Who decides where a policy asks: one person."""
    what = f"what policy {policy.id!r} asks"
    if policy.ask is not None:
        return _Deciders(("policies", index, "ask", "roles"), policy.ask.roles, 1, what)
    if policy.over is not None and policy.roles is not None:
        return _Deciders(("policies", index, "roles"), policy.roles, 1, what)
    return None


def self_approval(subject: Subject) -> Iterator[Finding]:
    """WF503: an approval that the person who started the run may give."""
    for name, step in subject.definition.steps.items():
        if step.approval is not None and not step.approval.separation:
            yield Finding(
                SELF_APPROVAL,
                subject.document.key_place(("steps", name, "approval", "separation")),
                f"who starts a run may approve {name!r} in it",
                SELF_APPROVAL.help,
            )


def elicit_alone(subject: Subject) -> Iterator[Finding]:
    """WF525: an approval that the agent's own client could give by itself."""
    for name, step in subject.definition.steps.items():
        if step.elicit and step.approval is not None and step.approval.quorum == 1:
            yield Finding(
                ELICIT_ALONE,
                subject.document.key_place(("steps", name, "elicit")),
                f"the agent's own client may give {name!r}, and nobody else is needed",
                ELICIT_ALONE.help,
            )


def bypass_by_caller(subject: Subject) -> Iterator[Finding]:
    """WF506: a role may call a step, and bypass the approval that it needs."""
    for name, approval, dependents in _approvals(subject):
        for dependent in dependents if approval.bypass else ():
            callers = subject.coverage.caller_roles(dependent) or frozenset()
            for index, role in enumerate(approval.bypass.roles if approval.bypass else ()):
                if role in callers:
                    path: Path = ("steps", name, "approval", "bypass", "roles", index)
                    yield Finding(
                        BYPASS_BY_CALLER,
                        subject.document.place(path),
                        f"{role!r} may bypass {name!r}, and may call {dependent!r} that needs it",
                        BYPASS_BY_CALLER.help,
                    )


def unbound_approval(subject: Subject) -> Iterator[Finding]:
    """WF507: an approval without `binds` for a call whose arguments are not all fixed."""
    for name, approval, dependents in _approvals(subject):
        for dependent in dependents if not approval.binds else ():
            free = _free_arguments(subject.definition.steps[dependent])
            if free is not None:
                yield Finding(
                    UNBOUND_APPROVAL,
                    subject.document.key_place(("steps", name, "approval")),
                    f"{name!r} binds no values: asked before {dependent!r} is attempted, "
                    f"it does not fix {free}",
                    UNBOUND_APPROVAL.help,
                )
                break


def _approvals(subject: Subject) -> Iterator[tuple[str, Approval, list[str]]]:
    """Every approval with the tool steps that use its grant."""
    steps = subject.definition.steps
    dependents: dict[str, list[str]] = {}
    for name, step in steps.items():
        for needed, outcomes in wanted_outcomes(subject.definition, step).items():
            if step.tool is not None and outcomes & _GRANTS:
                dependents.setdefault(needed, []).append(name)
    for name, step in steps.items():
        if step.approval is not None:
            yield name, step.approval, dependents.get(name, [])


def _free_arguments(step: Step) -> str | None:
    """What a caller may choose, in words; None when every argument is fixed."""
    if step.args is None:
        return "any of its arguments"
    free = [
        name
        for name, rule in step.args.items()
        if not isinstance(rule, Equals) and not _has_one_value(rule)
    ]
    if free:
        shown = ", ".join(map(repr, free[:4]))
        return f"{shown}{', ...' if len(free) > 4 else ''}"
    return "further arguments (`args_open`)" if step.args_open else None


def _has_one_value(schema: object) -> bool:
    if not isinstance(schema, dict):
        return False
    return "const" in schema or len(schema.get("enum", ())) == 1
