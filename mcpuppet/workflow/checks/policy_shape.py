"""Checks of a policy's form: one condition, the keys that go with it, and what the file can carry.

What a policy reaches and whether it makes sense is for `policies`, `approvals` and `timing`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from mcpuppet.workflow.checks.shape import counted
from mcpuppet.workflow.checks.subject import Subject
from mcpuppet.workflow.definition import (
    POLICY_CONDITIONS,
    Policy,
    RulesDefinition,
    parse_duration,
)
from mcpuppet.workflow.findings import BAD_DURATION, MISSING_KEY, WRONG_TYPE, Finding

_PARTNERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("at_most", ("per",)),
    ("per", ("at_most",)),
    ("sum", ("at_most",)),
    ("scope", ("mutex",)),
    ("within", ("of",)),
    ("of", ("within",)),
    ("unless", ("ask",)),
    ("over", ("at_most",)),
    ("over", ("roles",)),
    ("timeout", ("over",)),
    ("show", ("over",)),
    ("same", ("requires", "forbidden_after", "within")),
)
"""Keys that need one of some others beside them."""


def conditions_of_policies(subject: Subject) -> Iterator[Finding]:
    """WF105: a policy has exactly one condition, with all the keys that it takes."""
    for index, policy in enumerate(subject.definition.policies):
        conditions = _conditions(policy)
        if len(conditions) != 1:
            yield Finding(
                MISSING_KEY,
                subject.document.place(("policies", index)),
                f"policy {policy.id!r} has {counted(conditions, 'condition')}",
                f"exactly one of: {', '.join(POLICY_CONDITIONS)}",
            )
        for key, others in _PARTNERS:
            if _given(policy, key) and not any(_given(policy, other) for other in others):
                wanted = " or ".join(f"`{other}`" for other in others)
                yield Finding(
                    MISSING_KEY,
                    subject.document.key_place(("policies", index, key)),
                    f"policy {policy.id!r} has `{key}` without {wanted}",
                )


def _given(policy: Policy, key: str) -> bool:
    value = getattr(policy, key)
    return value is not None and value is not False


def _conditions(policy: Policy) -> list[str]:
    found = [key for key in POLICY_CONDITIONS if _given(policy, key)]
    if "sum" in found and "at_most" in found:
        found.remove("at_most")
    if policy.over is not None and "roles" in found:  # then `roles` says who is asked
        found.remove("roles")
    return found


def values_of_policies(subject: Subject) -> Iterator[Finding]:
    """WF104 and WF108: values that their key cannot carry beside the others."""
    for index, policy in enumerate(subject.definition.policies):
        if policy.at_most is not None and policy.sum is None and policy.at_most % 1:
            yield Finding(
                WRONG_TYPE,
                subject.document.place(("policies", index, "at_most")),
                f"policy {policy.id!r} counts calls, and {policy.at_most:g} is no whole number",
                "write a whole number, or add `sum: args.<amount>`",
            )
        for key in ("per", "within", "cooldown", "timeout"):
            if _is_nothing(getattr(policy, key)):
                yield Finding(
                    BAD_DURATION,
                    subject.document.place(("policies", index, key)),
                    f"`{key}` of policy {policy.id!r} is no time at all",
                    "write a time longer than 0s",
                )
        yield from _same_arguments(subject, index, policy)


def _is_nothing(value: timedelta | str | None) -> bool:
    if value is None or value in ("run", "session", "user"):
        return False
    return not parse_duration(value)


def _same_arguments(subject: Subject, index: int, policy: Policy) -> Iterator[Finding]:
    """`same` compares arguments, and only events of tools have any."""
    for key in ("requires", "forbidden_after", "of") if policy.same else ():
        for at, event in enumerate(getattr(policy, key) or ()):
            if event.count(".") == 1:
                yield Finding(
                    WRONG_TYPE,
                    subject.document.place(("policies", index, key, at)),
                    f"`same` compares the arguments of calls, and {event!r} is of a step",
                    "name the tool: `<server.tool>.success`",
                )


def run_words_in_rules(subject: Subject) -> Iterator[Finding]:
    """WF104: a rules file has no run that something could be counted or locked for."""
    if not isinstance(subject.definition, RulesDefinition):
        return
    for index, policy in enumerate(subject.definition.policies):
        if policy.per == "run":
            yield Finding(
                WRONG_TYPE,
                subject.document.place(("policies", index, "per")),
                "a rules file has no run to count over",
                "write `per: session`, `per: user` or a period such as `per: 1d`",
            )
        if policy.mutex and policy.scope in (None, "run"):
            yield Finding(
                WRONG_TYPE,
                subject.document.place(("policies", index, "scope")),
                "a rules file has no run that calls could exclude each other in",
                "write `scope: workflow` or `scope: server`",
            )
