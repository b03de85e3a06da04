"""Checks of what guards read: whether the value is there when the guard is asked."""

from __future__ import annotations

from collections.abc import Iterator

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.references import Part, path_parts, paths_read
from mcpuppet.workflow.checks.subject import Subject, Written, expressions
from mcpuppet.workflow.findings import Code, Finding
from mcpuppet.workflow.graph import ancestors

READS_NON_ANCESTOR = Code(
    "WF405",
    "guard-reads-non-ancestor",
    "error",
    about="An expression reads a value of another step that need not be there yet; reading it "
    "would hold the step.",
    help="add the other step to `needs`, or test the value first with `has(...)`",
)


def guard_reads_non_ancestor(subject: Subject) -> Iterator[Finding]:
    """WF405: an expression of a step reads another step's value that may be missing by then.

    Reads that the same expression guards with `has`, or by asking for the outcome of a step that
    has certainly ended, are fine. The `check` of a policy belongs to no step: a value missing
    there refuses the call.
    """
    for written in expressions(subject.definition):
        if written.step is not None:
            yield from _missing_reads(subject, written, written.step)


def _missing_reads(subject: Subject, written: Written, step: str) -> Iterator[Finding]:
    guarded = set(_presence_tests(written.expression.ast))
    has_succeeded = "compensate" in written.path
    for parts in paths_read(written.expression.ast):
        keys = tuple(key for key, _ in parts)
        if keys[0] != "steps" or len(keys) < 3 or _is_guarded(keys, guarded):
            continue
        asks_outcome = ("steps", keys[1], "outcome") in written.expression.references
        needs_end = keys[2] == "outcome" or asks_outcome
        there = subject.certain_ends if needs_end else subject.certain_successes
        is_own = keys[1] == step and has_succeeded
        if not is_own and not there.contains(step, keys[1]):
            yield _finding(subject, written, step, parts)


def _presence_tests(node: ast.Node) -> Iterator[tuple[str, ...]]:
    if isinstance(node, ast.Has):
        parts = path_parts(node)
        if parts is not None:
            yield tuple(key for key, _ in parts)
    for child in ast.children_of(node):
        yield from _presence_tests(child)


def _is_guarded(keys: tuple[str, ...], guarded: set[tuple[str, ...]]) -> bool:
    return any(keys[:length] in guarded for length in range(3, len(keys) + 1))


def _finding(subject: Subject, written: Written, step: str, parts: tuple[Part, ...]) -> Finding:
    (other, column), wanted = parts[1], parts[2][0]
    if other == step:
        message = f"step {step!r} reads its own {wanted} before it has one"
        help = "`success` and `until` read `result`" if "result" in written.variables else None
    elif other in ancestors(subject.graph, step):
        message = f"the {wanted} of {other!r} may be missing: it need not have "
        message += "ended" if wanted == "outcome" else "succeeded"
        message += f" when {step!r} starts"
        help = f"test it first, as in `has(steps.{other}.{wanted}) && ...`"
    else:
        message = f"step {step!r} reads the {wanted} of {other!r}, which it does not need"
        help = f"add {other!r} to the needs of {step!r}"
    place = subject.document.text_place(written.path, column)
    return Finding(READS_NON_ANCESTOR, place, message, help)
