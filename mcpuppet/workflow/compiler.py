"""A checked definition becomes a `CompiledWorkflow`: a bit-marking transition system.

Everything that can be worked out once per workflow is worked out here, so that a decision is bit
tests and a few expressions: which statuses satisfy a need, which policies touch which call, which
result fields a guard will ever read. Nothing here knows a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from mcpuppet.workflow.compiled import (
    RETRY_ON_UNKNOWN,
    ArgumentCheck,
    CompiledCompensation,
    CompiledReconcile,
    CompiledRules,
    CompiledStep,
    CompiledWorkflow,
    Freshness,
    Need,
    Rulebook,
    delay_before,
    longest_wait,
    step_tools,
)
from mcpuppet.workflow.compiled_policy import (
    ASK_LASTS,
    CompiledAsk,
    CompiledPolicy,
    compile_fact,
    compile_policy,
)
from mcpuppet.workflow.definition import (
    ArgumentRule,
    Compensate,
    Definition,
    Equals,
    Reconcile,
    Redo,
    Retry,
    RulesDefinition,
    Schema,
    Step,
    WorkflowDefinition,
    expand_sets,
)
from mcpuppet.workflow.expression import Expression
from mcpuppet.workflow.marking import (
    BYPASSED,
    ENDED,
    FAILURE,
    OUTCOME_STATUS,
    RUNNING,
    SUCCESS,
    status_mask,
    status_masks,
)
from mcpuppet.workflow.schema import compile_schema

__all__ = [
    "ArgumentCheck",
    "CompiledPolicy",
    "CompiledRules",
    "CompiledStep",
    "CompiledWorkflow",
    "Rulebook",
    "compile_rules",
    "compile_workflow",
    "delay_before",
    "descendants",
    "expressions",
    "longest_wait",
    "step_tools",
    "text_hash",
]


def text_hash(text: str) -> str:
    """The identity of a workflow's text: SHA-256 of its UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def compile_workflow(
    definition: WorkflowDefinition,
    text: str,
    fact_files: Mapping[str, tuple[Any, ...]] | None = None,
) -> CompiledWorkflow:
    """Compile a definition that the checks found no error in.

    `text` is what identifies it; `fact_files` holds the values of the facts that come from files.
    """
    index = {name: number for number, name in enumerate(definition.steps)}
    kept = _kept_fields(definition)
    dependents = _dependents(definition, index)
    handled = _handled_failures(definition)
    steps = tuple(
        _compile_step(definition, index, name, kept, dependents, handled)
        for name in definition.steps
    )
    always = expand_sets(definition.tools.always, definition.tools.sets)
    policies = _compile_policies(definition, index)
    return CompiledWorkflow(
        **_common(definition, text, fact_files or {}),
        all_policies=policies,
        definition=definition,
        steps=steps,
        index=index,
        by_tool=_grouped((tool, step) for step in steps for tool in step.tools),
        by_compensation=_grouped(
            (step.compensation.tool, step) for step in steps if step.compensation
        ),
        policies=_policy_table(definition, policies),
        always=always,
        timed=frozenset(
            word
            for policy in policies
            if policy.kind == "within"
            for word in policy.words
            if word.rpartition(".")[0] in index
        ),
        freshness=tuple(_freshness(definition, index, policies)),
        dependents=dependents,
    )


def compile_rules(
    definition: RulesDefinition,
    text: str,
    fact_files: Mapping[str, tuple[Any, ...]] | None = None,
) -> CompiledRules:
    """Compile a rules file that the checks found no error in; as `compile_workflow` does."""
    otherwise = None
    if definition.tools.otherwise == "ask":
        ask = CompiledAsk(tuple(definition.roles), ASK_LASTS)
        otherwise = CompiledPolicy("tools.otherwise", "ask", ask=ask)
    return CompiledRules(
        **_common(definition, text, fact_files or {}),
        all_policies=_compile_policies(definition, {}),
        definition=definition,
        allow=expand_sets(definition.tools.allow, definition.tools.sets),
        asks_otherwise=otherwise,
    )


def _common(
    definition: Definition, text: str, fact_files: Mapping[str, tuple[Any, ...]]
) -> dict[str, Any]:
    return {
        "name": definition.name,
        "version": definition.version,
        "hash": text_hash(text),
        "text": text,
        "inputs": compile_schema(_inputs_schema(definition)),
        "defaults": {
            name: schema["default"]
            for name, schema in definition.inputs.items()
            if isinstance(schema, dict) and "default" in schema
        },
        "observes": definition.mode == "observe",
        "locks_inputs": definition.given is not None,
        "facts": {
            name: compile_fact(name, fact, fact_files) for name, fact in definition.facts.items()
        },
    }


def _grouped(pairs: Iterable[tuple[str, CompiledStep]]) -> dict[str, tuple[CompiledStep, ...]]:
    groups: dict[str, list[CompiledStep]] = {}
    for tool, step in pairs:
        groups.setdefault(tool, []).append(step)
    return {tool: tuple(steps) for tool, steps in groups.items()}


def _inputs_schema(definition: Definition) -> dict[str, Any]:
    """A run needs every input; a rules file can be told some of them, or none."""
    properties: dict[str, Schema] = dict(definition.inputs)
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if isinstance(definition, WorkflowDefinition) else [],
        "additionalProperties": False,
    }


def _compile_step(
    definition: WorkflowDefinition,
    index: Mapping[str, int],
    name: str,
    kept: Mapping[str, frozenset[str] | None],
    dependents: Mapping[int, tuple[int, ...]],
    handled: frozenset[str],
) -> CompiledStep:
    step = definition.steps[name]
    needs = _compile_needs(step, index)
    return CompiledStep(
        id=name,
        index=index[name],
        title=step.title or name.replace("_", " ").capitalize(),
        tools=tuple(step.tool or ()),
        approval=step.approval,
        needs=needs,
        any_join=step.needs is not None and step.needs.join == "any",
        when=step.when,
        args=_compile_arguments(step.args),
        args_open=step.args_open,
        returns=tuple((field, compile_schema(one)) for field, one in (step.returns or {}).items()),
        success=step.success,
        timeout=step.timeout,
        retry=_retry(definition, step),
        repeat=step.repeat,
        redo=_redo(step),
        failure_is_handled=name in handled,
        retries_unknown=_retries_unknown(definition, step),
        compensation=_compile_compensation(definition, index, name, dependents),
        finally_=step.finally_,
        optional=step.optional,
        approvals=tuple(
            need.step
            for need in needs
            if need.satisfied & status_mask(need.step, SUCCESS | BYPASSED)
            and definition.steps[need.name].approval
        ),
        kept=kept[name],
        has_key=step.unknown_word == "retry_with_key",
        key_argument=step.key_argument,
        reconcile=_compile_reconcile(step.reconcile),
    )


def _compile_reconcile(one: Reconcile | None) -> CompiledReconcile | None:
    if one is None:
        return None
    return CompiledReconcile(one.tool, tuple(one.args.items()), one.happened, one.result, one.after)


def _compile_needs(step: Step, index: Mapping[str, int]) -> tuple[Need, ...]:
    if step.needs is None:
        return ()
    return tuple(
        _compile_need(index[name], name, words or ("success",))
        for name, words in step.needs.outcomes.items()
    )


def _compile_need(step: int, name: str, words: tuple[str, ...]) -> Need:
    accepts = 0
    for word in words:
        accepts |= OUTCOME_STATUS[word]
    dead = status_mask(step, ENDED & ~accepts)
    return Need(step, name, words, accepts, status_mask(step, accepts), dead)


def _compile_arguments(
    rules: Mapping[str, ArgumentRule] | None,
) -> tuple[ArgumentCheck, ...] | None:
    if rules is None:
        return None
    return tuple(
        ArgumentCheck(name, rule.equals, None)
        if isinstance(rule, Equals)
        else ArgumentCheck(name, None, compile_schema(rule))
        for name, rule in rules.items()
    )


def _retry(definition: WorkflowDefinition, step: Step) -> Retry | None:
    if step.retry is None and _retries_unknown(definition, step):
        return RETRY_ON_UNKNOWN
    return step.retry


def _retries_unknown(definition: WorkflowDefinition, step: Step) -> bool:
    """Retrying an unknown outcome is safe where asked for, or where the tools only read."""
    if step.on_unknown is not None:
        return step.unknown_word in ("retry", "retry_with_key")
    always = expand_sets(definition.tools.always, definition.tools.sets)
    return bool(step.tool) and all(
        any(fnmatchcase(tool, pattern) for pattern in always) for tool in step.tool or ()
    )


def _redo(step: Step) -> Redo | None:
    if step.on is None:
        return None
    return step.on.rejected if step.approval else step.on.failure


def _handled_failures(definition: WorkflowDefinition) -> frozenset[str]:
    """The steps whose failure (or rejection) some step waits for, or is to be passed over."""
    passed_over = {name for name, step in definition.steps.items() if step.on_failure == "continue"}
    waited_for = {
        name
        for step in definition.steps.values()
        if step.needs is not None
        for name, words in step.needs.outcomes.items()
        if any(OUTCOME_STATUS[word] == FAILURE for word in words)
    }
    return frozenset(passed_over | waited_for)


def _compile_compensation(
    definition: WorkflowDefinition,
    index: Mapping[str, int],
    name: str,
    dependents: Mapping[int, tuple[int, ...]],
) -> CompiledCompensation | None:
    compensate: Compensate | None = definition.steps[name].compensate
    if compensate is None:
        return None
    names = tuple(index)
    return CompiledCompensation(
        tool=compensate.tool,
        args=_compile_arguments(compensate.args),
        args_open=compensate.args_open,
        waits_for=tuple(
            other
            for other in _reachable(dependents, [index[name]])
            if definition.steps[names[other]].compensate is not None
        ),
    )


def _dependents(
    definition: WorkflowDefinition, index: Mapping[str, int]
) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {number: [] for number in index.values()}
    for name, step in definition.steps.items():
        for needed in step.needs.outcomes if step.needs else ():
            found[index[needed]].append(index[name])
    return {number: tuple(others) for number, others in found.items()}


def _reachable(dependents: Mapping[int, tuple[int, ...]], start: Iterable[int]) -> list[int]:
    """The steps that depend on one of `start`, in ascending order of index."""
    found: set[int] = set()
    frontier = list(start)
    while frontier:
        fresh = [one for one in dependents[frontier.pop()] if one not in found]
        found.update(fresh)
        frontier.extend(fresh)
    return sorted(found)


def descendants(workflow: CompiledWorkflow, indexes: Iterable[int]) -> set[int]:
    """The steps that depend, through any number of needs, on one of the given steps."""
    return set(_reachable(workflow.dependents, indexes))


def _compile_policies(
    definition: Definition, index: Mapping[str, int]
) -> tuple[CompiledPolicy, ...]:
    compiled = (
        compile_policy(policy, expand_sets(policy.call, definition.tools.sets), index)
        for policy in definition.policies
    )
    return tuple(
        _with_steps(definition, index, one) if one.kind == "mutex" else one for one in compiled
    )


def _with_steps(
    definition: Definition, index: Mapping[str, int], policy: CompiledPolicy
) -> CompiledPolicy:
    """A mutex with the steps that it keeps apart."""
    covered = _covered_steps(definition, policy)
    return replace(
        policy,
        words=tuple(covered) or policy.calls,
        running=status_masks((index[name] for name in covered), RUNNING),
        exempt=frozenset(
            (name, tool)
            for name in covered
            for tool in definition.steps[name].tool or ()
            if not _covers(policy, name, tool)
        ),
    )


def _policy_table(
    definition: WorkflowDefinition, policies: tuple[CompiledPolicy, ...]
) -> dict[tuple[str, str], tuple[CompiledPolicy, ...]]:
    """For every call the policies that limit it, found by name, or by pattern once per tool."""
    numbers: dict[str, list[int]] = {}
    patterns: list[tuple[int, str]] = []
    for number, policy in enumerate(policies):
        for word in policy.calls:
            if set(word) & _GLOB_CHARACTERS:
                patterns.append((number, word))
            else:
                numbers.setdefault(word, []).append(number)
    by_tool: dict[str, set[int]] = {}
    table: dict[tuple[str, str], tuple[CompiledPolicy, ...]] = {}
    for name, step in definition.steps.items():
        for tool in step.tool or ():
            if tool not in by_tool:
                by_pattern = {number for number, one in patterns if fnmatchcase(tool, one)}
                by_tool[tool] = by_pattern.union(numbers.get(tool, ()))
            covering = sorted(by_tool[tool].union(numbers.get(name, ())))
            table[name, tool] = tuple(policies[number] for number in covering)
    outside = {step.compensate.tool for step in definition.steps.values() if step.compensate}
    outside |= {word for word in numbers if "." in word}
    for tool in outside:
        table["", tool] = tuple(policies[number] for number in numbers.get(tool, ()))
    return table


_GLOB_CHARACTERS = frozenset("*?[")


def _covers(policy: CompiledPolicy, step: str, tool: str) -> bool:
    """A word without a dot names a step, one with a dot is a tool pattern."""
    return any(fnmatchcase(tool, word) if "." in word else word == step for word in policy.calls)


def _covered_steps(definition: Definition, policy: CompiledPolicy) -> list[str]:
    return [
        name
        for name, step in definition.steps.items()
        if any(_covers(policy, name, tool) for tool in step.tool or ())
    ]


def _freshness(
    definition: WorkflowDefinition, index: Mapping[str, int], policies: Iterable[CompiledPolicy]
) -> Iterator[Freshness]:
    for policy in policies:
        if policy.kind != "within":
            continue
        named = dict.fromkeys(word.rpartition(".")[0] for word in policy.words)
        approvals = tuple(
            index[name]
            for name in named
            if name in index and definition.steps[name].approval is not None
        )
        if approvals:
            steps = tuple(index[name] for name in _covered_steps(definition, policy))
            yield Freshness(policy, approvals, steps)


def _kept_fields(definition: Definition) -> dict[str, frozenset[str] | None]:
    """For each step the result fields that expressions read; None when one reads the whole."""
    kept: dict[str, set[str] | None] = {name: set() for name in definition.steps}
    for path in _all_references(definition):
        if path[0] != "steps":
            continue
        names = [path[1]] if len(path) > 1 else list(kept)
        for name in names:
            fields = kept.get(name)
            if len(path) == 2 or (len(path) == 3 and path[2] == "result") or len(path) == 1:
                kept[name] = None
            elif fields is not None and path[2] == "result":
                fields.add(path[3])
    return {name: None if one is None else frozenset(one) for name, one in kept.items()}


def _all_references(definition: Definition) -> Iterator[tuple[str, ...]]:
    for expression in expressions(definition):
        yield from expression.references


def expressions(definition: Definition) -> Iterator[Expression]:
    """Every expression of a workflow, in file order."""
    for step in definition.steps.values():
        for guard in (step.when, step.success, step.repeat.until if step.repeat else None):
            if guard is not None:
                yield guard
        rules = [step.args or {}, (step.compensate.args or {}) if step.compensate else {}]
        yield from (
            one.equals for group in rules for one in group.values() if isinstance(one, Equals)
        )
        if step.approval is not None:
            yield from step.approval.binds
            if step.approval.bypass is not None and step.approval.bypass.when is not None:
                yield step.approval.bypass.when
        if step.reconcile is not None:
            yield from (*step.reconcile.args.values(), step.reconcile.happened)
            yield from () if step.reconcile.result is None else (step.reconcile.result,)
    for policy in definition.policies:
        guards = (policy.check, policy.unless, policy.sum, *(policy.show or ()))
        yield from (guard for guard in guards if guard is not None)
        if policy.ask is not None:
            yield from policy.ask.show
