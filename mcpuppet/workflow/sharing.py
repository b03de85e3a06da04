"""A definition together with the shared files that it uses, as one definition.

Owns how the parts are put together: roles are united, tool sets too, and the policies of the shared
files follow the file's own. Every part keeps its place in the file that it was written in. It reads
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcpuppet.workflow.definition import Definition, Policy, SharedDefinition
from mcpuppet.workflow.findings import BAD_INCLUDE, Finding
from mcpuppet.workflow.yaml_reader import Document, Path


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A shared file as it was read."""

    document: Document
    definition: SharedDefinition
    text: str


def with_shared(
    definition: Definition, document: Document, files: Sequence[SharedFile]
) -> tuple[Definition, Document, tuple[Finding, ...]]:
    """The definition with what the shared files add, and a document that knows their places.

    The findings are the tool sets that two files define differently.
    """
    if not files:
        return definition, document, ()
    whole = _Whole(definition, document)
    for file in files:
        whole.take(file)
    tools = definition.tools.model_copy(update={"sets": whole.sets})
    update = {"roles": whole.roles, "policies": whole.policies, "tools": tools}
    return definition.model_copy(update=update), whole.document(), tuple(whole.findings)


class _Whole:
    """What is put together, and where each added part stands."""

    def __init__(self, definition: Definition, own: Document) -> None:
        self.roles = list(definition.roles)
        self.sets = dict(definition.tools.sets)
        self.policies: list[Policy] = list(definition.policies)
        self.findings: list[Finding] = []
        self._own = own
        self._parts: dict[Path, tuple[Document, Path]] = {}
        self._written_policies: list[Any] = list(own.data.get("policies", ()))

    def take(self, file: SharedFile) -> None:
        self._take_roles(file)
        self._take_sets(file)
        self._take_policies(file)

    def document(self) -> Document:
        """The file's document with everything that was added."""
        tools = {**self._own.data.get("tools", {}), "sets": self.sets}
        data = self._own.data | {
            "roles": self.roles,
            "tools": tools,
            "policies": self._written_policies,
        }
        return self._own.with_parts(data, self._parts)

    def _take_roles(self, file: SharedFile) -> None:
        for index, role in enumerate(file.definition.roles):
            if role not in self.roles:
                self._parts["roles", len(self.roles)] = (file.document, ("roles", index))
                self.roles.append(role)

    def _take_sets(self, file: SharedFile) -> None:
        for name, patterns in file.definition.tools.sets.items():
            path = ("tools", "sets", name)
            if name not in self.sets:
                self._parts[path] = (file.document, path)
                self.sets[name] = patterns
            elif set(self.sets[name]) != set(patterns):
                self.findings.append(self._conflict(path, file))

    def _take_policies(self, file: SharedFile) -> None:
        for index, policy in enumerate(file.definition.policies):
            self._parts["policies", len(self.policies)] = (file.document, ("policies", index))
            self.policies.append(policy)
        self._written_policies += file.document.data.get("policies", ())

    def _conflict(self, path: Path, file: SharedFile) -> Finding:
        first = self.document().key_place(path)
        message = f"the tool set {path[-1]!r} holds other tools in {first}"
        help = "give one of the two another name"
        return Finding(BAD_INCLUDE, file.document.key_place(path), message, help)
