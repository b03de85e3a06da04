"""The workflow as written: pydantic models that mirror the YAML, key for key.

A model says which keys exist and what shape their values have, and nothing more. Whether a name
exists, whether a guard can hold, or whether a key is supported yet, is asked by `workflow.checks`;
what a key does is decided by `workflow.compiler`. The sentence under a key is what an editor shows
for it, and the annotated types say what may be written: `workflow.language_schema` makes the JSON
Schema of the language from both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from mcpuppet.workflow.expression import Expression, ExpressionError, parse_expression
from mcpuppet.workflow.hours import Hours, parse_hours
from mcpuppet.workflow.schema import SchemaError, compile_schema
from mcpuppet.workflow.sensitive import PointerError, parse_pointer

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


def _one_or_more(item: dict[str, Any], least: int = 1) -> WithJsonSchema:
    """The JSON Schema of a value that may be written alone or as a list."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": least}]})


_ANY_TEXT = {"type": "string"}
_DURATION_SCHEMA = {
    "type": "string",
    "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$",
    "examples": ["30s", "5m", "4h", "2d"],
}
_GUARD_SCHEMA: dict[str, Any] = {"type": ["string", "boolean"]}


def _check_some_time(duration: timedelta) -> timedelta:
    if not duration:
        raise PydanticCustomError("bad_duration", "it is no time at all")
    return duration


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_DURATION_SCHEMA),
]
Timeout = Annotated[Duration, AfterValidator(_check_some_time)]
"""A duration after which something ends: at least a millisecond."""
Guard = Annotated[
    Expression,
    BeforeValidator(_parse_guard),
    PlainSerializer(lambda guard: guard.source, return_type=str),
    WithJsonSchema(_GUARD_SCHEMA),
]
Schema = Annotated[
    dict[str, Any] | bool,
    BeforeValidator(_check_schema),
    WithJsonSchema({"type": ["object", "boolean"]}),
]
_IDENTIFIER = r"^[a-z][a-z0-9_]{0,63}$"
_DASHED = r"^[a-z][a-z0-9_-]{0,63}$"
_TOOL_PATTERN = r"^[A-Za-z0-9_*?\[\]!-]{1,64}\.[A-Za-z0-9_.*?\[\]!-]{1,128}$"
_TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_.-]{1,128}$"
_VERSION = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$"
PATTERN_WORDS = {
    _IDENTIFIER: "a name: a small letter, then small letters, digits and `_`",
    _DASHED: "a name: a small letter, then small letters, digits, `_` and `-`",
    _TOOL_PATTERN: "`server.tool`, where `*` may stand for any text: `bank.*`, `*.*`",
    _TOOL_NAME: "`server.tool`",
    _VERSION: "a version: three numbers, as in `1.0.0`",
}
"""What the patterns of names ask for, in words."""
Identifier = Annotated[str, Field(pattern=_IDENTIFIER)]
PolicyId = Annotated[str, Field(pattern=_DASHED)]
RoleName = Annotated[str, Field(pattern=_DASHED)]
ToolPattern = Annotated[str, Field(pattern=_TOOL_PATTERN)]
"""A tool name in which `*`, `?` and `[…]` stand for what they stand for in file names."""
ToolName = Annotated[str, Field(pattern=_TOOL_NAME)]
Roles = Annotated[list[RoleName], Field(min_length=1)]
Names = Annotated[
    list[str], BeforeValidator(_as_list), Field(min_length=1), _one_or_more(_ANY_TEXT)
]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class Section(BaseModel):
    """Base of every part of a file: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )


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


_OUTCOME_SCHEMA = {"enum": list(STEP_EVENTS[1:-1])}
_STEP_ID_SCHEMA = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"}
_NEEDS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _STEP_ID_SCHEMA,
        {"type": "array", "items": _STEP_ID_SCHEMA, "minItems": 1},
        {
            "type": "object",
            "properties": {"join": {"enum": ["all", "any"], "default": "all"}},
            "additionalProperties": {
                "anyOf": [
                    _OUTCOME_SCHEMA,
                    {"type": "array", "items": _OUTCOME_SCHEMA, "minItems": 1},
                ]
            },
            "minProperties": 1,
            "not": {"required": ["join"], "maxProperties": 1},
        },
    ]
}


class Bypass(Section):
    """How an approval may be passed over in an emergency; absent means never."""

    roles: Roles
    """Who may pass over the approval."""
    when: Guard | None = None
    """An expression that has to hold for a bypass; without it, it is always possible."""
    justification: Annotated[int, Field(ge=1, le=10_000, strict=True)]
    """The least number of characters of the justification."""
    review_within: Timeout | None = None
    """How soon a person has to review the bypass afterwards."""


class Approval(Section):
    """A human decision: who may give it, how many, for how long, and for which values."""

    roles: Roles
    """Who may decide: people with one of these roles."""
    quorum: Count = 1
    """How many different people have to approve."""
    separation: bool = True
    """Whether the person who started the run is kept from deciding."""
    timeout: Timeout
    """How long a request stays open."""
    on_timeout: Literal["reject", "escalate"] = "reject"
    """What becomes of a request that nobody decided in time."""
    escalate_to: RoleName | None = None
    """The role that is asked next, with `on_timeout: escalate`."""
    binds: list[Guard] = []
    """The decision holds for these values only; the approver sees them."""
    renew: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    """How often a request or a grant that ran out may be asked for again."""
    bypass: Bypass | None = None
    """How the approval may be passed over in an emergency; without it, never."""


class Equals(Section):
    """An argument that must equal the value of an expression."""

    equals: Guard
    """An expression over `inputs` and the results of earlier steps."""


def _argument_rule(value: object) -> str:
    equals = isinstance(value, Equals) or (isinstance(value, Mapping) and "equals" in value)
    return "an equals" if equals else "a schema"  # no key of a file looks like these


_ARGUMENT_SCHEMA: dict[str, Any] = {
    "if": {"type": "object", "required": ["equals"]},
    "then": {"properties": {"equals": _GUARD_SCHEMA}, "additionalProperties": False},
    "else": {"type": ["object", "boolean"]},
}
ArgumentRule = Annotated[
    Annotated[Equals, Tag("an equals")] | Annotated[Schema, Tag("a schema")],
    Discriminator(_argument_rule),
    WithJsonSchema(_ARGUMENT_SCHEMA),
]


class Retry(Section):
    """Attempts after a failed call: `delay * backoff**n`, at most `max_delay`, with jitter."""

    attempts: Annotated[int, Field(ge=1, le=100, strict=True)]
    """How often the call is tried in all."""
    delay: Duration = timedelta(seconds=1)
    """The wait before the second attempt."""
    backoff: Annotated[float, Field(ge=1, le=100)] = 2.0
    """What the wait is multiplied by after each attempt."""
    max_delay: Duration = timedelta(minutes=1)
    """The longest wait between two attempts."""
    jitter: bool = True
    """Whether waits are shortened at random, so that many callers do not come at once."""
    on: list[Literal["timeout", "error"]] = ["error"]
    """After what to try again; after `timeout` only together with `on_unknown`."""


class Repeat(Section):
    """Polling: the step is called again until a condition holds, at most `max` times."""

    max: Count | None = None
    """How often the step may be called; it has failed when that was not enough."""
    until: Guard
    """An expression over `result`; the step has succeeded once it holds."""
    every: Duration = timedelta(0)
    """The least time between two calls."""


class Redo(Section):
    """Bounded rework: the listed steps are set back to pending."""

    redo: Names
    """The steps that are set back to pending."""
    max: Count | None = None
    """How often that may happen in a run."""


class On(Section):
    """What to do about an outcome before it counts as unhandled."""

    failure: Redo | None = None
    """What to do when the step failed."""
    rejected: Redo | None = None
    """What to do when the approval was rejected."""


def _check_pointer(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "string_type", "a path is text, not {value}", {"value": _shown(value)}
        )
    try:
        parse_pointer(value)
    except PointerError as error:
        raise PydanticCustomError("bad_pointer", "{problem}", {"problem": str(error)}) from error
    return value


_POINTER_SCHEMA = {
    "type": "string",
    "pattern": "^(/([^~/]|~[01])*)*$",
    "examples": ["/customer/email", "/items/*/iban"],
}
RedactPath = Annotated[str, BeforeValidator(_check_pointer), WithJsonSchema(_POINTER_SCHEMA)]
"""A JSON Pointer into arguments and result, as in `/customer/email`; `*` is every item."""


class Compensate(Section):
    """The call that undoes a successful step when the run fails."""

    tool: ToolName
    """The tool that undoes the step, as `server.tool`."""
    args: dict[str, ArgumentRule] | None = None
    """What its arguments have to be; an argument that is not listed is refused."""
    args_open: bool = False
    """Whether arguments that `args` does not list are let through."""


class RetryWithKey(Section):
    """The call is made again with the same idempotency key, by which the server knows it."""

    arg: Annotated[str, Field(min_length=1)] | None = None
    """The argument that the gateway fills in with the key; without it, `_meta` carries the key."""


class Reconcile(Section):
    """A reading call that tells what became of a call whose outcome is unknown."""

    tool: ToolName
    """The tool that is read with, as `server.tool`."""
    args: dict[str, Guard] = {}
    """Its arguments: expressions over `args` of the call, `inputs` and results of other steps."""
    happened: Guard
    """An expression over the `result` that was read, and `args`: whether the call took effect."""
    result: Guard | None = None
    """An expression over the same that gives the result of the call, as an object."""
    after: Duration = timedelta(seconds=10)
    """How long after the outcome became unknown it is read."""


class SettleUnknown(Section):
    """How an unknown outcome is settled, where a word does not say all."""

    retry_with_key: RetryWithKey | None = None
    """Make the call again with the same idempotency key."""
    reconcile: Reconcile | None = None
    """Find out with a reading call what became of it."""


UnknownWord = Literal["hold", "retry", "retry_with_key", "reconcile"]


def _unknown_form(value: object) -> str:
    is_mapping = isinstance(value, (SettleUnknown, Mapping))
    return "a mapping" if is_mapping else "a word"  # no key of a file looks like these


OnUnknown = Annotated[
    Annotated[Literal["hold", "retry", "retry_with_key"], Tag("a word")]
    | Annotated[SettleUnknown, Tag("a mapping")],
    Discriminator(_unknown_form),
]


StepTools = Annotated[
    list[ToolName],
    BeforeValidator(_as_list),
    Field(min_length=1),
    _one_or_more({"type": "string", "pattern": _TOOL_NAME}),
]
StepNeeds = Annotated[Needs, BeforeValidator(_normalise_needs), WithJsonSchema(_NEEDS_SCHEMA)]


class Step(Section):
    """One step: a tool call or a human decision, when it may start, and what its end means."""

    title: str | None = None
    """A short name, shown to people and to the assistant."""
    description: str | None = None
    """What the step is for."""
    tool: StepTools | None = None
    """The tool that this step calls, as `server.tool`; of a list, any one of them."""
    approval: Approval | None = None
    """Makes the step a person's decision, in place of a call."""
    needs: StepNeeds | None = None
    """The steps that come first, and with which outcomes: `a`, `[a, b]` or `{a: failure}`."""
    when: Guard | None = None
    """An expression over `inputs` and results of earlier steps; false skips the step."""
    args: dict[str, ArgumentRule] | None = None
    """What arguments have to be: a JSON Schema, or `{equals: expression}`; others are refused."""
    args_open: bool = False
    """Whether arguments that `args` does not list are let through."""
    returns: dict[str, Schema] | None = None
    """The fields that a result must have, each with its JSON Schema."""
    success: Guard | None = None
    """An expression over `result` that has to hold, too, for the step to have succeeded."""
    timeout: Timeout | None = None
    """How long one call may take; what it did is then unknown."""
    retry: Retry | None = None
    """Attempts after a failed call."""
    repeat: Repeat | None = None
    """Polling: the step is called again until a condition holds."""
    on: On | None = None
    """Rework before a failure or a rejection counts."""
    on_failure: Literal["fail", "continue"] = "fail"
    """Whether the run goes on after a failure that nothing else handles."""
    on_unknown: OnUnknown | None = None
    """What to do when nobody knows what a call did; `hold` waits for a person."""
    compensate: Compensate | None = None
    """The call that undoes this step when the run fails later."""
    finally_: Annotated[bool, Field(alias="finally")] = False
    """Whether the step may still be called while the run is failing."""
    optional: bool = False
    """Whether a run may complete without this step."""
    exclusive: bool = False
    """Of this step and others with the same needs, only one may start in a run."""
    redact: Annotated[list[RedactPath], Field(min_length=1)] | None = None
    """Paths of values that are kept out of the audit trail."""
    elicit: bool = False
    """Whether the assistant's own user may be asked for the approval."""

    @property
    def unknown_word(self) -> UnknownWord | None:
        """What `on_unknown` says, whichever form it has."""
        if not isinstance(self.on_unknown, SettleUnknown):
            return self.on_unknown
        return "reconcile" if self.on_unknown.reconcile is not None else "retry_with_key"

    @property
    def key_argument(self) -> str | None:
        """The argument that the gateway fills in with the idempotency key, if there is one."""
        if not isinstance(self.on_unknown, SettleUnknown) or self.on_unknown.reconcile is not None:
            return None
        return self.on_unknown.retry_with_key.arg if self.on_unknown.retry_with_key else None

    @property
    def reconcile(self) -> Reconcile | None:
        """How the outcome of a call is found out, if it is."""
        return self.on_unknown.reconcile if isinstance(self.on_unknown, SettleUnknown) else None


class Ask(Section):
    """Who is asked when a rule wants a person's decision on one call."""

    roles: Roles
    """Who may decide: people with one of these roles."""
    timeout: Timeout
    """How long a request stays open."""
    show: list[Guard] = []
    """What the approver sees: expressions such as `args.amount`."""


_TAKE = re.compile(r"result(\.[A-Za-z_][A-Za-z0-9_]*|\[\])*")


def _check_take(value: object) -> object:
    if not isinstance(value, str) or _TAKE.fullmatch(value) is None:
        raise PydanticCustomError(
            "take_form",
            "{value} does not say where the values are: write it as in `result.items[].name`",
            {"value": _shown(value)},
        )
    return value


_TAKE_SCHEMA = {"type": "string", "pattern": f"^{_TAKE.pattern}$"}
Take = Annotated[str, BeforeValidator(_check_take), WithJsonSchema(_TAKE_SCHEMA)]
"""Where in a result values are: `result`, then `.field` or `[]` (every item of a list)."""


class Fact(Section):
    """What is remembered of the successful results of one tool, or of a file.

    With `key` a mapping from the key to the fields named by `keep`; with `take` a set of values.
    """

    from_: Annotated[ToolName | None, Field(alias="from")] = None
    """The tool whose successful results are remembered, as `server.tool`."""
    key: Guard | None = None
    """An expression over `args` and `result` that tells the remembered things apart."""
    keep: Annotated[list[str], Field(min_length=1)] | None = None
    """The fields of a result that are remembered under its key."""
    take: Take | None = None
    """Where in a result the values of a set are, as in `result.items[].name`."""
    from_file: str | None = None
    """A CSV file, beside this one, that holds the values of a set."""
    column: str | None = None
    """The column of `from_file` to read."""
    until: Names | None = None
    """The events after which everything remembered so far is forgotten."""
    max: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1_000
    """How many things are remembered; past it the fact is unknown."""


def _parse_opening_hours(value: object) -> Hours:
    if isinstance(value, Hours):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError(
            "string_type", "opening hours are text, not {value}", {"value": _shown(value)}
        )
    try:
        return parse_hours(value)
    except ValueError as error:
        raise PydanticCustomError("bad_hours", "{problem}", {"problem": str(error)}) from error


OpeningHours = Annotated[
    Hours,
    BeforeValidator(_parse_opening_hours),
    PlainSerializer(lambda hours: hours.source, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["mon-fri 08:00-18:00 Europe/Rome"]}),
]
"""When a call may be made, as in `mon-fri 08:00-18:00 Europe/Rome`."""


def _check_period(value: object) -> object:
    if value in ("run", "session", "user"):
        return value
    try:
        parse_duration(value)
    except PydanticCustomError as error:
        help = "`run`, `session`, `user`, or a period such as 1h or 1d"
        raise PydanticCustomError(
            "bad_duration", "{problem}", {"problem": error.message(), "help": help}
        ) from error
    return value


_PER_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": ["run", "session", "user"]}, _DURATION_SCHEMA]}
Per = Annotated[str, BeforeValidator(_check_period), WithJsonSchema(_PER_SCHEMA)]
"""What a limit is counted over: `run`, `session`, `user` or a sliding period such as `1d`."""


class Policy(Section):
    """One enforced rule: which calls it limits, and exactly one condition."""

    id: PolicyId
    """The name by which refusals and the audit trail refer to this rule."""
    call: Names
    """Which calls it limits: a step, a tool, a pattern such as `bank.*`, or a set of tools."""
    requires: Names | None = None
    """Refuse the call until one of these events has happened."""
    mutex: bool | None = None
    """Never two of these calls at the same time."""
    scope: Literal["run", "workflow", "server"] | None = None
    """Among which calls `mutex` holds: of the run, of the workflow, or of the server."""
    forbidden_after: Names | None = None
    """Refuse the call once one of these events has happened."""
    at_most: Annotated[float, Field(ge=0)] | None = None
    """How many calls, or what sum, is allowed within `per`."""
    per: Per | None = None
    """What `at_most` is counted over: `run`, `session`, `user`, or a period such as `1d`."""
    sum: Guard | None = None
    """The number that is added up with each call, such as `args.amount`."""
    over: Literal["ask"] | None = None
    """`ask`: a person decides on what goes over the limit; without it, it is refused."""
    timeout: Timeout | None = None
    """How long a request by `over: ask` stays open."""
    show: list[Guard] | None = None
    """What the approver sees of a request by `over: ask`."""
    within: Duration | None = None
    """Allow the call only so long after an event of `of`."""
    of: Names | None = None
    """The events that `within` counts from."""
    cooldown: Duration | None = None
    """The least time since the last such call."""
    hours: OpeningHours | None = None
    """When the call may be made, as `mon-fri 08:00-18:00 Europe/Rome`."""
    roles: Roles | None = None
    """Who may make the call; with `over: ask`, who decides."""
    check: Guard | None = None
    """An expression over `args`, `inputs`, `user`, `facts` and `now` that has to hold."""
    ask: Ask | None = None
    """Ask a person about every such call, unless `unless` holds."""
    unless: Guard | None = None
    """An expression; where it holds, nobody has to be asked."""
    same: Annotated[list[str], Field(min_length=1)] | None = None
    """Arguments that the required event's call must have had with the same values."""


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
    """The name by which a proof refers to this claim."""
    precedes: list[str | list[str]] | None = None
    """`[A, B]`: no B without an A before it."""
    unless: Names | None = None
    """The events that excuse from `precedes`."""
    responds: list[str | list[str]] | None = None
    """`[A, B]`: in every finished run, each A is followed by a B."""
    excludes: list[str | list[str]] | None = None
    """`[A, B]`: never both in one run."""
    concurrent: Literal["never"] | None = None
    """The steps under `of` never run at the same time."""
    at_most: Annotated[int, Field(ge=0, strict=True)] | None = None
    """How often the events under `of` happen in one run, at most."""
    of: Names | None = None
    """The events of `at_most`, or the steps of `concurrent`."""
    exists: Names | None = None
    """Every finished run has one of these events."""
    always_ends_with: Names | None = None
    """Every finished run has one of these events, whichever way it ends."""
    can_complete: Literal[True] | None = None
    """From everywhere, a run can still complete."""
    ltlf: str | None = None
    """A formula of linear temporal logic over finite runs."""


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


ToolSets = dict[Identifier, Annotated[list[ToolPattern], Field(min_length=1)]]
"""Named sets of tool patterns; a set's name may stand wherever a tool pattern may."""


def expand_sets(words: Iterable[str], sets: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The words with the name of each tool set replaced by the patterns of the set, each once."""
    return tuple(dict.fromkeys(one for word in words for one in sets.get(word, (word,))))


class Tools(Section):
    """Tools outside the steps: `always` are read-only tools that are legal in every state."""

    sets: ToolSets = {}
    """Named sets of tools; the name may stand wherever a tool may."""
    always: list[str] = []
    """Read-only tools that may be called at any time; they are no steps."""


class RulesTools(Section):
    """Tools that no workflow orders: which may be called, and what becomes of all others."""

    sets: ToolSets = {}
    """Named sets of tools; the name may stand wherever a tool may."""
    allow: Annotated[list[str], BeforeValidator(_as_list), _one_or_more(_ANY_TEXT, 0)] = []
    """The tools that may be called, within the policies."""
    otherwise: Literal["deny", "ask"] = "deny"
    """What becomes of all other tools: refused, or a person is asked."""


class SharedTools(Section):
    """The tool sets of a shared file."""

    sets: ToolSets = {}
    """Named sets of tools; the name may stand wherever a tool may."""


Version = Annotated[str, Field(pattern=_VERSION)]


class Governed(Section):
    """What a workflow and a rules file have in common."""

    mcpuppet: Literal[1]
    """The version of the language; always 1."""
    version: Version
    """The version of this file, as in 1.4.0."""
    title: str | None = None
    """A short name, shown to people and to the assistant."""
    description: str | None = None
    """What this is for, shown to people and to the assistant."""
    mode: Literal["enforce", "observe"] = "enforce"
    """`observe` lets calls through that would be refused, and records them as such."""
    roles: list[RoleName] = []
    """Every role that is used in this file."""
    inputs: dict[Identifier, Schema] = {}
    """The values that are fixed at the start, each with its JSON Schema."""
    given: Literal["inputs_before_first_result"] | None = None
    """Inputs can be set only before the assistant has seen a first result."""
    facts: dict[Identifier, Fact] = {}
    """What is remembered of results, to be read in expressions as `facts.name`."""
    policies: list[Policy] = []
    """Rules that are enforced with every call. They only refuse or ask."""
    properties: list[Property] = []
    """Claims about every run that are proved before a run starts."""
    use: Names | None = None
    """Shared files to take roles, tool sets and policies from."""
    tests: list[Any] | None = None
    """Calls and what should become of each, run by `mcpuppet test`."""


class WorkflowDefinition(Governed):
    """A whole workflow file."""

    workflow: Identifier
    """The name of the workflow."""
    timeout: Timeout = timedelta(days=30)
    """How long a run may take in all; then it fails."""
    tools: Tools = Tools()
    """Sets of tools, and tools outside the steps."""
    steps: Annotated[dict[Identifier, Step], Field(min_length=1)]
    """The steps by id. Their order in the file means nothing: `needs` orders them."""

    @property
    def name(self) -> str:
        return self.workflow

    @property
    def listed_tools(self) -> list[str]:
        """The tool patterns under `tools`."""
        return self.tools.always


class RulesDefinition(Governed):
    """A whole rules file: rules for calls that no workflow orders. It has no steps and no run."""

    rules: Identifier
    """The name of the set of rules."""
    tools: RulesTools = RulesTools()
    """Which tools may be called."""

    @property
    def name(self) -> str:
        return self.rules

    @property
    def steps(self) -> Mapping[str, Step]:
        return {}

    @property
    def listed_tools(self) -> list[str]:
        """The tool patterns under `tools`."""
        return self.tools.allow


class SharedDefinition(Section):
    """A shared file: what several workflows and rules files take over with `use`."""

    mcpuppet: Literal[1]
    """The version of the language; always 1."""
    shared: Identifier
    """The name of what is shared."""
    description: str | None = None
    """What this is for."""
    roles: list[RoleName] = []
    """Roles that the files which use this one take over."""
    tools: SharedTools = SharedTools()
    """Tool sets that the files which use this one take over."""
    policies: list[Policy] = []
    """Policies that the files which use this one take over."""


Definition = WorkflowDefinition | RulesDefinition
