"""Every check of a workflow, and the order in which they can run.

One function per concern, each taking a `Subject` and yielding findings. To add a check: write it in
the module of its group, and list it and its code here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from mcpuppet.workflow import findings as codes
from mcpuppet.workflow.checks import (
    guards,
    later,
    needs,
    policies,
    references,
    shape,
    tools,
)
from mcpuppet.workflow.checks.subject import Subject, ToolDefinition
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.parser import ParsedWorkflow

__all__ = ["CHECKS", "CODES", "DEEP_CHECKS", "check"]

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    shape.reserved_step_id,
    shape.kind_of_step,
    shape.keys_of_the_other_kind,
    shape.incomplete_approval,
    shape.conditions_of_policies,
    shape.kinds_of_properties,
    shape.duplicate_ids,
    later.not_supported_yet,
    references.unknown_step,
    references.unknown_role,
    references.unknown_input,
    references.unknown_outcome,
    references.unknown_event,
    tools.unknown_tool,
    tools.unknown_argument,
    needs.needs_cycle,
    needs.unbounded_loop,
    needs.redo_without_approval,
    policies.policy_never_applies,
    policies.retry_after_timeout,
)
"""Checks that bear any definition."""

DEEP_CHECKS: tuple[Check, ...] = (
    needs.unreachable_step,
    guards.guard_reads_non_ancestor,
)
"""Checks that rely on what CHECKS assure: names exist, `needs` have no cycle, every key counts."""

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
    references.UNKNOWN_STEP,
    references.UNKNOWN_ROLE,
    references.UNKNOWN_INPUT,
    references.UNKNOWN_EVENT,
    tools.UNKNOWN_TOOL,
    tools.UNKNOWN_ARGUMENT,
    needs.NEEDS_CYCLE,
    needs.UNREACHABLE_STEP,
    needs.UNBOUNDED_LOOP,
    needs.REDO_WITHOUT_APPROVAL,
    guards.READS_NON_ANCESTOR,
    policies.POLICY_NEVER_APPLIES,
    policies.RETRY_AFTER_TIMEOUT,
)
"""Every code that reading and checking a workflow can report, by number."""


def check(
    parsed: ParsedWorkflow,
    tools: Mapping[str, ToolDefinition] | None = None,
    servers: frozenset[str] | None = None,
) -> list[Finding]:
    """Everything found in a workflow file, what the parser found included, by place.

    `tools` maps "server.tool" to the tool as its server lists it, `servers` are the configured
    names; checks that need what is not given stay silent. A file without a definition has only the
    parser's findings.
    """
    found = list(parsed.findings)
    if parsed.definition is not None:
        subject = Subject(parsed.definition, parsed.document, tools, servers)
        found += _run(CHECKS, subject)
        if all(one.severity != "error" for one in found):
            found += _run(DEEP_CHECKS, subject)
    return sorted(dict.fromkeys(found), key=lambda one: (one.place, one.code.number))


def _run(checks: Iterable[Check], subject: Subject) -> Iterator[Finding]:
    for one in checks:
        yield from one(subject)
