"""Checks of policies and retries: whether they limit anything, and whether they may repeat harm."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from mcpuppet.workflow.checks.subject import Subject, suggest
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.findings import Code, Finding

POLICY_NEVER_APPLIES = Code("WF511", "policy-never-applies", "warning")
RETRY_AFTER_TIMEOUT = Code("WF522", "retry-after-timeout", "error")


def policy_never_applies(subject: Subject) -> Iterator[Finding]:
    """WF511: a `call` that matches no tool of the workflow, or names a step that calls none."""
    tools = _tools(subject.definition)
    for index, policy in enumerate(subject.definition.policies):
        for at, call in enumerate(policy.call):
            place = subject.document.place(("policies", index, "call", at))
            step = subject.definition.steps.get(call)
            if "." in call and not any(_may_match(call, tool) for tool in tools):
                message = f"policy {policy.id!r} limits nothing: no tool here matches {call!r}"
                yield Finding(POLICY_NEVER_APPLIES, place, message, suggest(call, tools, "tools"))
            elif step is not None and step.approval is not None:
                message = (
                    f"policy {policy.id!r} limits nothing: {call!r} is an approval, not a call"
                )
                yield Finding(POLICY_NEVER_APPLIES, place, message, "name the step that needs it")


def _tools(definition: WorkflowDefinition) -> set[str]:
    found = set(definition.tools.always)
    for step in definition.steps.values():
        found |= set(step.tool or ())
        if step.compensate is not None:
            found.add(step.compensate.tool)
    return found


def _may_match(call: str, tool: str) -> bool:
    """Either may be a glob: `tools.always` holds globs too."""
    return fnmatchcase(tool, call) or fnmatchcase(call, tool)


def retry_after_timeout(subject: Subject) -> Iterator[Finding]:
    """WF522: a call is retried after a timeout although it may have taken effect."""
    for name, step in subject.definition.steps.items():
        if step.retry is None or "timeout" not in step.retry.on:
            continue
        if step.on_unknown not in ("retry", "retry_with_key"):
            index = step.retry.on.index("timeout")
            yield Finding(
                RETRY_AFTER_TIMEOUT,
                subject.document.place(("steps", name, "retry", "on", index)),
                f"after a timeout it is not known whether {name!r} took effect",
                "add `on_unknown: retry` if calling it twice does no harm",
            )
