"""WF209: roles and inputs that a file declares and nothing in it names or reads."""

from __future__ import annotations

from collections.abc import Iterator

from mcpuppet.workflow import expression_ast as ast
from mcpuppet.workflow.checks.references import calls_of, named_roles
from mcpuppet.workflow.checks.subject import Subject, expressions
from mcpuppet.workflow.definition import RulesDefinition
from mcpuppet.workflow.findings import Code, Finding

UNUSED = Code(
    "WF209",
    "unused-role-or-input",
    "warning",
    about="A role or an input is declared, and nothing in the file names or reads it.",
    help="remove it, or use it where it was meant to count",
)


def unused(subject: Subject) -> Iterator[Finding]:
    """WF209: a declared role that is named nowhere, a declared input that no expression reads."""
    texts = _texts(subject)
    named = {role for _, role in named_roles(subject)}
    asks_everyone = _asks_everyone(subject)
    for index, role in enumerate(subject.definition.roles):
        place = subject.document.place(("roles", index))
        is_shared = place.file != subject.document.file  # the other files that use it may name it
        if not (role in named or role in texts or is_shared or asks_everyone):
            message = f"role {role!r} is declared, but nothing names it"
            yield Finding(UNUSED, place, message, "remove it, or say under `policies` what it may")
    read = _inputs_read(subject)
    for name in subject.definition.inputs if read is not None else ():
        if read is not None and name not in read:
            place = subject.document.key_place(("inputs", name))
            message = f"input {name!r} is declared, but nothing reads it"
            yield Finding(UNUSED, place, message, "remove it, or fix an argument by it")


def _asks_everyone(subject: Subject) -> bool:
    """A rules file that asks about all other tools asks every role that it lists."""
    definition = subject.definition
    return isinstance(definition, RulesDefinition) and definition.tools.otherwise == "ask"


def _inputs_read(subject: Subject) -> set[str] | None:
    """The inputs that some expression reads; None when one may read any of them."""
    found: set[str] = set()
    for written in expressions(subject.definition):
        if any(calls_of("given", written.expression.ast)):
            return None
        for path in written.expression.references:
            if path == ("inputs",):
                return None
            if path[0] == "inputs":
                found.add(path[1])
    return found


def _texts(subject: Subject) -> set[str]:
    """Every text in an expression: `"clerk" in user.roles` names a role."""
    found: set[str] = set()
    for written in expressions(subject.definition):
        found |= set(_texts_in(written.expression.ast))
    return found


def _texts_in(node: ast.Node) -> Iterator[str]:
    if isinstance(node, ast.Literal) and isinstance(node.value, str):
        yield node.value
    for child in ast.children_of(node):
        yield from _texts_in(child)
