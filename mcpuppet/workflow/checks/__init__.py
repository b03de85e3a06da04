"""Every check of a workflow, and the order in which they can run.

One function per concern, each taking a `Subject` and yielding findings. To add a check: write it in
the module of its group, and list it and its code here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from mcpuppet.workflow import findings as codes
from mcpuppet.workflow.checks import (
    approvals,
    exploring,
    facts,
    guard_classes,
    guard_types,
    guards,
    later,
    needs,
    pins,
    policies,
    policy_shape,
    redundancy,
    references,
    rules,
    shape,
    timing,
    tool_schemas,
    tools,
    unused,
)
from mcpuppet.workflow.checks.limit import limited
from mcpuppet.workflow.checks.subject import NOTHING_OUTSIDE, Outside, Subject, ToolDefinition
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.ignores import Ignores
from mcpuppet.workflow.parser import ParsedWorkflow

__all__ = [
    "CHECKS",
    "CODES",
    "DEEP_CHECKS",
    "EXPLORING_CHECKS",
    "Examined",
    "Outside",
    "check",
    "examine",
]

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    shape.reserved_step_id,
    shape.kind_of_step,
    shape.roles_of_those_asked,
    shape.keys_of_the_other_kind,
    shape.ways_to_settle_unknown,
    shape.incomplete_approval,
    shape.kinds_of_properties,
    shape.properties_of_rules,
    shape.duplicate_ids,
    policy_shape.conditions_of_policies,
    policy_shape.values_of_policies,
    policy_shape.run_words_in_rules,
    facts.form_of_facts,
    later.not_supported_yet,
    references.unknown_step,
    references.unknown_role,
    references.unknown_input,
    references.unknown_outcome,
    references.unknown_event,
    references.unknown_tool_set,
    references.given_without_lock,
    unused.unused,
    guard_types.guard_type,
    approvals.no_approver,
    approvals.quorum_impossible,
    approvals.self_approval,
    approvals.bypass_by_caller,
    approvals.elicit_alone,
    approvals.unbound_approval,
    timing.fresh_approval_expires,
    timing.never_open,
    rules.fact_can_be_forged,
    rules.sibling_argument,
    tools.unknown_tool,
    tools.unknown_argument,
    tool_schemas.argument_type,
    tool_schemas.result_field,
    needs.needs_cycle,
    needs.unbounded_loop,
    needs.redo_without_approval,
    policies.policy_never_applies,
    policies.event_never_happens,
    policies.limit_per_run,
    policies.role_hole,
    policies.retry_after_timeout,
)
"""Checks that bear any definition."""

DEEP_CHECKS: tuple[Check, ...] = (
    guards.guard_reads_non_ancestor,
    guard_classes.constant_guard,
    guard_classes.opaque_guard,
    guard_classes.guard_overlap,
    guard_classes.guard_gap,
    redundancy.stale_after_redo,
    redundancy.redundant_needs,
    timing.time_infeasible,
    policies.compensation_missing,
)
"""Checks that rely on what CHECKS assure: names exist, `needs` have no cycle, every key counts.

A code whose absence they or the compiler rely on cannot be ignored.
"""

EXPLORING_CHECKS: tuple[Check, ...] = (
    needs.unreachable_step,
    exploring.state_limit_reached,
    exploring.dead_end,
    exploring.cannot_finish,
    exploring.ambiguous_call,
    exploring.policy_deadlock,
    exploring.policy_vacuous,
)
"""Checks that walk the states of a run, up to a limit; they rely on the same as DEEP_CHECKS."""

CODES: tuple[Code, ...] = (
    codes.YAML_SYNTAX,
    codes.DUPLICATE_KEY,
    codes.UNKNOWN_KEY,
    codes.WRONG_TYPE,
    codes.MISSING_KEY,
    codes.ANCHORS_OR_TAGS,
    codes.TOO_DEEP_OR_BIG,
    codes.BAD_DURATION,
    codes.NOT_SUPPORTED,
    codes.BAD_EXPRESSION,
    codes.BAD_SCHEMA,
    codes.IGNORE_WITHOUT_REASON,
    codes.UNUSED_IGNORE,
    codes.BAD_IGNORE,
    codes.BAD_INCLUDE,
    references.UNKNOWN_STEP,
    references.UNKNOWN_ROLE,
    references.UNKNOWN_INPUT,
    references.UNKNOWN_EVENT,
    tools.UNKNOWN_TOOL,
    tools.UNKNOWN_ARGUMENT,
    tool_schemas.ARGUMENT_TYPE,
    tool_schemas.RESULT_FIELD,
    unused.UNUSED,
    references.UNKNOWN_FACT,
    references.GIVEN_WITHOUT_LOCK,
    references.UNKNOWN_TOOL_SET,
    needs.NEEDS_CYCLE,
    needs.UNREACHABLE_STEP,
    exploring.DEAD_END,
    exploring.CANNOT_FINISH,
    needs.UNBOUNDED_LOOP,
    redundancy.STALE_AFTER_REDO,
    needs.REDO_WITHOUT_APPROVAL,
    redundancy.REDUNDANT_NEEDS,
    guard_classes.NEVER_TRUE,
    guard_classes.OVERLAP,
    guard_classes.GAP,
    guard_classes.ALWAYS_TRUE,
    guards.READS_NON_ANCESTOR,
    guard_types.GUARD_TYPE,
    exploring.AMBIGUOUS_CALL,
    guard_classes.OPAQUE,
    approvals.NO_APPROVER,
    approvals.QUORUM_IMPOSSIBLE,
    approvals.SELF_APPROVAL,
    approvals.BYPASS_BY_CALLER,
    approvals.UNBOUND_APPROVAL,
    exploring.POLICY_DEADLOCK,
    policies.POLICY_NEVER_APPLIES,
    exploring.POLICY_VACUOUS,
    exploring.POLICY_IMPLIED,
    timing.TIME_INFEASIBLE,
    timing.FRESH_APPROVAL_EXPIRES,
    policies.EVENT_NEVER_HAPPENS,
    policies.LIMIT_PER_RUN,
    policies.ROLE_HOLE,
    policies.COMPENSATION_MISSING,
    policies.RETRY_AFTER_TIMEOUT,
    rules.FACT_CAN_BE_FORGED,
    rules.SIBLING_ARGUMENT,
    approvals.ELICIT_ALONE,
    pins.TOOL_REMOVED,
    pins.TOOL_CHANGED,
    exploring.STATE_LIMIT,
)
"""Every code that reading and checking a workflow can report, by number."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What is found in a workflow file, and what its comments ask to ignore."""

    findings: tuple[Finding, ...]
    ignored: tuple[Finding, ...]


def check(
    parsed: ParsedWorkflow,
    tools: Mapping[str, ToolDefinition] | None = None,
    servers: frozenset[str] | None = None,
    people: Mapping[str, int] | None = None,
) -> list[Finding]:
    """Everything found in a workflow file, what the parser found included, by place.

    `tools` maps "server.tool" to the tool as its server lists it, `servers` are the configured
    names, `people` says how many people hold each role; checks that need what is not given stay
    silent. A file without a definition has only the parser's findings. What a comment of the file
    ignores is left out.
    """
    return list(examine(parsed, Outside(servers, tools, people)).findings)


def examine(parsed: ParsedWorkflow, outside: Outside = NOTHING_OUTSIDE) -> Examined:
    """What `check` finds, and the findings that comments of their own files drop."""
    # Of a file that was refused nothing can be ignored, and its size is anybody's guess.
    texts = {} if parsed.document.data is None else parsed.texts
    ignores = Ignores(texts, (*CODES, *codes.FURTHER_CODES))
    found = list(parsed.findings)
    is_complete = False
    if parsed.definition is not None:
        subject = Subject(
            parsed.definition, parsed.document, outside.tools, outside.servers, outside.people
        )
        found += _run(CHECKS, subject)
        if outside.pinned is not None:
            found += pins.drifted_tools(subject, outside.pinned, outside.answered)
        # An ignored error must not keep the deeper checks from a file that will be carried out.
        is_complete = all(one.severity != "error" for one in ignores.sift(found).kept)
        if is_complete:
            found += _run((*DEEP_CHECKS, *EXPLORING_CHECKS), subject)
    sifted = ignores.sift(found)
    remarks = ignores.remarks(parsed.document.file, sifted.ignored if is_complete else None)
    return Examined(_by_place((*sifted.kept, *remarks)), _by_place(sifted.ignored))


def _by_place(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.place, one.code.number)))


def _run(checks: Iterable[Check], subject: Subject) -> Iterator[Finding]:
    for one in checks:
        yield from limited(one(subject), subject.document.file)
