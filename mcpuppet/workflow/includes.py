"""What a workflow file takes over: shared files (`use`) and the values of facts (`from_file`).

Owns how much is read and what is wrong with a file that was named. It opens no file itself: a
`Read` does, and may refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mcpuppet.workflow import fact_files
from mcpuppet.workflow.definition import Fact, SharedDefinition
from mcpuppet.workflow.findings import BAD_INCLUDE, Finding
from mcpuppet.workflow.sharing import SharedFile
from mcpuppet.workflow.source import IncludeError, Read, beside, check_path
from mcpuppet.workflow.validation import brief, validate_document
from mcpuppet.workflow.yaml_reader import MAX_BYTES, MAX_NODES, Document, Path, read_yaml

MAX_INCLUDES = 32
"""How many entries of `use` and `from_file` are read for one file."""
_SHARED_HELP = "a file that is used has the key `shared`, and neither `workflow` nor `rules`"


class Includes:
    """The files that one file takes over; those that cannot be used become `findings`."""

    def __init__(self, document: Document, read: Read | None) -> None:
        self.texts: dict[str, str] = {}
        """By path, without byte order marks."""
        self.findings: list[Finding] = []
        self._document = document
        self._read = read
        self._count = 0
        self._bytes_left = MAX_BYTES
        self._nodes_left = MAX_NODES - document.nodes

    def shared_files(self, paths: Iterable[str]) -> Iterator[SharedFile]:
        """The shared files at `paths`, which stand under `use`."""
        for index, path in enumerate(paths):
            where: Path = ("use", index)
            if not self._may_take_more(where, path):
                return
            try:
                file = self._shared_file(path)
            except IncludeError as error:
                self._find(where, path, error)
                continue
            if file is not None:
                yield file

    def fact_values(self, facts: Mapping[str, Fact]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The name and the values of every fact that comes from a file."""
        for name, fact in facts.items():
            if fact.from_file is None:
                continue
            where: Path = ("facts", name, "from_file")
            if not self._may_take_more(where, fact.from_file):
                return
            try:
                content = self._take(fact.from_file, fact_files.ENDINGS)
                yield name, fact_files.fact_values(fact.from_file, content, fact.column, fact.max)
            except IncludeError as error:
                self._find(where, fact.from_file, error)

    def _shared_file(self, path: str) -> SharedFile | None:
        if path in self.texts:
            raise IncludeError("is used already", "remove one of the two entries")
        content = self._take(path, (".yaml", ".yml"))
        document = read_yaml(content, beside(self._document.file, path), self._nodes_left)
        self._nodes_left -= document.nodes
        if document.data is None and document.findings:
            self.findings += document.findings
            return None
        _check_kind(document.data)
        definition, findings = validate_document(document, SharedDefinition)
        self.findings += (*document.findings, *findings)
        return None if definition is None else SharedFile(document, definition, self.texts[path])

    def _may_take_more(self, where: Path, path: str) -> bool:
        """Whether one more entry is looked at; the first that is not becomes a finding."""
        self._count += 1
        if self._count == MAX_INCLUDES + 1:
            error = IncludeError(f"and what follows is not read: {MAX_INCLUDES} files are the most")
            self._find(where, path, error)
        return self._count <= MAX_INCLUDES

    def _take(self, path: str, endings: tuple[str, ...]) -> bytes:
        check_path(path, endings)
        if self._read is None:
            raise IncludeError("cannot be read, as it is not known in which folder it is")
        content = self._read(path)
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            raise IncludeError(f"makes it more than {MAX_BYTES:,} bytes of files to read")
        self.texts[path] = content.decode("utf-8-sig", "replace")
        return content

    def _find(self, where: Path, path: str, error: IncludeError) -> None:
        place = self._document.place(where)
        self.findings.append(Finding(BAD_INCLUDE, place, f"{brief(path)} {error}", error.help))


def _check_kind(data: Any) -> None:
    if not isinstance(data, dict) or "shared" not in data or {"workflow", "rules"} & data.keys():
        raise IncludeError("is not a shared file", _SHARED_HELP)
    if "use" in data:
        raise IncludeError("has a `use` itself", "name the files that it uses here as well")
