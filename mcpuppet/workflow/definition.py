"""The workflow as written: pydantic models that mirror the YAML, key for key.

A model says which keys exist and what shape their values have, and nothing more. Whether a name
exists, whether a guard can hold, or whether a key is supported yet, is asked by `workflow.checks`;
what a key does is decided by `workflow.compiler`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from mcpuppet.workflow.expression import Expression, ExpressionError, parse_expression
from mcpuppet.workflow.schema import SchemaError, compile_schema

STEP_EVENTS = (
    "call",
    "success",
    "failure",
    "skipped",
    "approved",
    "rejected",
    "bypassed",
    "expired",
)
"""Every event a step can have, in the order of their bits."""

TOOL_OUTCOMES = frozenset({"success", "failure", "skipped"})
APPROVAL_OUTCOMES = frozenset({"approved", "rejected", "bypassed", "skipped"})

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_LONGEST_DURATION = timedelta(days=3650)


def parse_duration(value: object) -> timedelta:
    """Read a duration such as `500ms`, `30s`, `5m`, `4h` or `2d`; at most ten years."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError(
            "bad_duration", "{value} is not a duration", {"value": _shown(value)}
        )
    duration = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if duration > _LONGEST_DURATION:
        raise PydanticCustomError("bad_duration", "{value} is longer than 3650d", {"value": value})
    return duration


def format_duration(duration: timedelta) -> str:
    """The shortest form that `parse_duration` reads back to the same value."""
    milliseconds = round(duration.total_seconds() * 1000)
    for unit in ("d", "h", "m", "s"):
        size = round(_UNITS[unit] * 1000)
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _parse_guard(value: object) -> Expression:
    if isinstance(value, Expression):
        return value
    if isinstance(value, bool):  # `when: true` is YAML's boolean, and a legal expression
        value = str(value).lower()
    if not isinstance(value, str):
        raise PydanticCustomError(
            "string_type", "an expression is text, not {value}", {"value": _shown(value)}
        )
    try:
        return parse_expression(value)
    except ExpressionError as error:
        raise PydanticCustomError(
            "bad_expression",
            "{problem}",
            {"problem": error.message, "column": error.column, "help": error.help},
        ) from error


def _check_schema(value: object) -> object:
    if not isinstance(value, (dict, bool)):
        raise PydanticCustomError(
            "dict_type", "a JSON Schema is a mapping, not {value}", {"value": _shown(value)}
        )
    try:
        compile_schema(value)
    except SchemaError as error:
        raise PydanticCustomError(
            "bad_schema", "{problem}", {"problem": error.message, "path": error.path}
        ) from error
    return value


def _as_list(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
Guard = Annotated[
    Expression,
    BeforeValidator(_parse_guard),
    PlainSerializer(lambda guard: guard.source, return_type=str),
]
Schema = Annotated[dict[str, Any] | bool, BeforeValidator(_check_schema)]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
PolicyId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
RoleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,128}$")]
Roles = Annotated[list[RoleName], Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class Section(BaseModel):
    """Base of every part of a file: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Needs(Section):
    """When a step may start: which outcomes of which other steps, and how they are joined."""

    outcomes: dict[str, tuple[str, ...]]
    """For each needed step the outcomes that satisfy the need; empty means success/approved."""
    join: Literal["all", "any"] = "all"


def _normalise_needs(value: object) -> object:
    """Bring the three spellings (`a`, `[a, b]`, `{a: success, join: any}`) to one."""
    if isinstance(value, Needs):
        return value
    if isinstance(value, str):
        return {"outcomes": {value: ()}}
    if isinstance(value, Sequence):
        if not value or not all(isinstance(name, str) for name in value):
            raise PydanticCustomError("needs_form", "a list of needs holds at least one step id")
        return {"outcomes": dict.fromkeys(value, ())}
    if not isinstance(value, Mapping):
        raise PydanticCustomError(
            "needs_form", "needs is a step id, a list of step ids or a mapping of step to outcomes"
        )
    outcomes = {name: _outcome_list(name, one) for name, one in value.items() if name != "join"}
    if not outcomes:
        raise PydanticCustomError("needs_form", "a mapping of needs names at least one step")
    return {"outcomes": outcomes, "join": value.get("join", "all")}


def _outcome_list(step: object, value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError(
            "needs_form", "the outcomes of {step} are a word or a list of words", {"step": step}
        )
    return tuple(names)


class Bypass(Section):
    """How an approval may be passed over in an emergency; absent means never."""

    roles: Roles
    when: Guard | None = None
    justification: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    review_within: Duration | None = None


class Approval(Section):
    """A human decision: who may give it, how many, for how long, and for which values."""

    roles: Roles
    quorum: Count = 1
    separation: bool = True
    timeout: Duration
    on_timeout: Literal["reject", "escalate"] = "reject"
    escalate_to: RoleName | None = None
    binds: list[Guard] = []
    renew: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    bypass: Bypass | None = None


class Equals(Section):
    """An argument that must equal the value of an expression."""

    equals: Guard


def _argument_rule(value: object) -> object:
    if isinstance(value, Mapping) and "equals" in value:
        return Equals.model_validate(value)
    return value


ArgumentRule = Annotated[Equals | Schema, BeforeValidator(_argument_rule)]


class Retry(Section):
    """Attempts after a failed call: `delay * backoff**n`, at most `max_delay`, with jitter."""

    attempts: Annotated[int, Field(ge=1, le=100, strict=True)]
    delay: Duration = timedelta(seconds=1)
    backoff: Annotated[float, Field(ge=1, le=100)] = 2.0
    max_delay: Duration = timedelta(minutes=1)
    jitter: bool = True
    on: list[Literal["timeout", "error"]] = ["error"]


class Repeat(Section):
    """Polling: the step is called again until a condition holds, at most `max` times."""

    max: Count | None = None
    until: Guard
    every: Duration = timedelta(0)


class Redo(Section):
    """Bounded rework: the listed steps are set back to pending."""

    redo: Names
    max: Count | None = None


class On(Section):
    """What to do about an outcome before it counts as unhandled."""

    failure: Redo | None = None
    rejected: Redo | None = None


class Compensate(Section):
    """The call that undoes a successful step when the run fails."""

    tool: ToolName
    args: dict[str, ArgumentRule] | None = None
    args_open: bool = False


class Step(Section):
    """One step: a tool call or a human decision, when it may start, and what its end means."""

    title: str | None = None
    description: str | None = None
    tool: Annotated[list[ToolName], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    approval: Approval | None = None
    needs: Annotated[Needs, BeforeValidator(_normalise_needs)] | None = None
    when: Guard | None = None
    args: dict[str, ArgumentRule] | None = None
    args_open: bool = False
    returns: dict[str, Schema] | None = None
    success: Guard | None = None
    timeout: Duration | None = None
    retry: Retry | None = None
    repeat: Repeat | None = None
    on: On | None = None
    on_failure: Literal["fail", "continue"] = "fail"
    on_unknown: Literal["retry", "retry_with_key", "reconcile", "hold"] | None = None
    compensate: Compensate | None = None
    finally_: Annotated[bool, Field(alias="finally")] = False
    optional: bool = False
    exclusive: bool = False
    redact: list[str] | None = None
    elicit: bool = False


class Ask(Section):
    """Who is asked when a rule wants a person's decision on one call."""

    roles: Roles
    timeout: Duration
    show: list[str] = []


class Policy(Section):
    """One enforced rule: which calls it limits, and exactly one condition."""

    id: PolicyId
    call: Names
    requires: Names | None = None
    mutex: bool | None = None
    scope: Literal["run", "workflow", "server"] | None = None
    forbidden_after: Names | None = None
    at_most: Annotated[float, Field(ge=0)] | None = None
    per: str | None = None
    sum: str | None = None
    over: Literal["ask"] | None = None
    within: Duration | None = None
    of: Names | None = None
    cooldown: Duration | None = None
    hours: str | None = None
    roles: Roles | None = None
    check: Guard | None = None
    ask: Ask | None = None
    unless: Guard | None = None
    same: list[str] | None = None


POLICY_CONDITIONS = (
    "requires",
    "mutex",
    "forbidden_after",
    "sum",
    "at_most",
    "within",
    "cooldown",
    "hours",
    "roles",
    "check",
    "ask",
)
"""The keys that each make a policy's condition; `sum` comes with its `at_most`."""


class Property(Section):
    """One claim about every run, proved before a run starts."""

    id: PolicyId
    precedes: list[str | list[str]] | None = None
    unless: Names | None = None
    responds: list[str | list[str]] | None = None
    excludes: list[str | list[str]] | None = None
    concurrent: Literal["never"] | None = None
    at_most: Annotated[int, Field(ge=0, strict=True)] | None = None
    of: Names | None = None
    exists: Names | None = None
    always_ends_with: Names | None = None
    can_complete: Literal[True] | None = None
    ltlf: str | None = None


PROPERTY_KINDS = (
    "precedes",
    "responds",
    "excludes",
    "concurrent",
    "at_most",
    "exists",
    "always_ends_with",
    "can_complete",
    "ltlf",
)


class Tools(Section):
    """Tools outside the steps: `always` are read-only tools that are legal in every state."""

    always: list[str] = []


class WorkflowDefinition(Section):
    """A whole workflow file."""

    mcpuppet: Literal[1]
    workflow: Identifier
    version: Annotated[str, Field(pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$")]
    title: str | None = None
    description: str | None = None
    mode: Literal["enforce", "observe"] = "enforce"
    timeout: Duration = timedelta(days=30)
    roles: list[RoleName] = []
    inputs: dict[Identifier, Schema] = {}
    tools: Tools = Tools()
    steps: Annotated[dict[Identifier, Step], Field(min_length=1)]
    policies: list[Policy] = []
    properties: list[Property] = []
    use: list[str] | str | None = None
    tests: list[Any] | None = None
