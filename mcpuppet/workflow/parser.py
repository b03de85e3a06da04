"""The text of a file to what it holds: a workflow, rules, or what several of them share.

Every mistake is a finding with a place. This module picks the model by the file's kind and adds
what the file takes over from others; `validation` places the mistakes of shape, `includes` reads
the other files, and what a workflow means is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcpuppet.workflow.definition import (
    Definition,
    RulesDefinition,
    SharedDefinition,
    WorkflowDefinition,
)
from mcpuppet.workflow.findings import MISSING_KEY, UNKNOWN_KEY, WRONG_TYPE, Finding
from mcpuppet.workflow.includes import Includes
from mcpuppet.workflow.sharing import with_shared
from mcpuppet.workflow.source import IncludeError, Read, bundle_text, open_bundle
from mcpuppet.workflow.validation import brief, validate_document
from mcpuppet.workflow.yaml_reader import Document, read_yaml

__all__ = ["ParsedWorkflow", "parse_bundle", "parse_workflow", "validate_document"]

_MODELS: Mapping[str, type[WorkflowDefinition | RulesDefinition | SharedDefinition]] = {
    "workflow": WorkflowDefinition,
    "rules": RulesDefinition,
    "shared": SharedDefinition,
}
"""The key that says what kind of file it is, and the model of that kind."""
_KINDS_HELP = "a file has `mcpuppet: 1`, and its name under `workflow`, `rules` or `shared`"


@dataclass(frozen=True, slots=True)
class ParsedWorkflow:
    """A workflow, rules or shared file as far as it could be read, with what it takes over.

    `definition` is None when something is wrong in it or in a file that it takes over, and for a
    shared file, which has its `shared` instead.
    """

    document: Document
    text: str
    bundle: str
    """What identifies it: `text`, or with files that it takes over a text that holds them all."""
    definition: Definition | None
    findings: tuple[Finding, ...]
    shared: SharedDefinition | None = None
    fact_files: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """The values of the facts that come from files, by the fact's name."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The texts of the file and of the shared files it uses, by the name that places give them."""


def parse_workflow(source: bytes | str, file: str, read: Read | None = None) -> ParsedWorkflow:
    """Read a workflow, rules or shared file. Every mistake is a finding; nothing is raised.

    `read` gives the content of a file by its path from the folder of this one; without it, to name
    one is a mistake.
    """
    document = read_yaml(source, file)
    text = source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
    definition, findings = _validated(document)
    parsed = ParsedWorkflow(document, text, text, None, findings, texts={file: text})
    if isinstance(definition, SharedDefinition):
        return replace(parsed, shared=definition)
    return parsed if definition is None else _with_includes(parsed, definition, read)


def parse_bundle(bundle: str, file: str) -> ParsedWorkflow:
    """Read again what identifies a workflow; nothing comes from the disk. `file` is for places."""
    text, files = open_bundle(bundle)

    def read(path: str) -> bytes:
        if path not in files:
            raise IncludeError("is not part of what was recorded")
        return files[path].encode("utf-8", "surrogatepass")

    return replace(parse_workflow(text, file, read), bundle=bundle)


def _validated(
    document: Document,
) -> tuple[Definition | SharedDefinition | None, tuple[Finding, ...]]:
    """What a file holds, and what is wrong; with any mistake it holds nothing."""
    if document.data is None:
        return None, document.findings or (_kind_finding(document),)
    kinds = _kinds_of(document)
    if len(kinds) != 1:
        return None, (*document.findings, _kind_finding(document))
    definition, findings = validate_document(document, _MODELS[kinds[0]])
    return None if document.findings else definition, (*document.findings, *findings)


def _kinds_of(document: Document) -> list[str]:
    """Which of the keys that say the kind of a file are in it."""
    return [key for key in _MODELS if isinstance(document.data, dict) and key in document.data]


def _kind_finding(document: Document) -> Finding:
    top = document.place(())
    if document.data is None:
        return Finding(MISSING_KEY, top, "the file is empty", _KINDS_HELP)
    if not isinstance(document.data, dict):
        message = f"the file: expected a mapping, found {brief(document.data)}"
        return Finding(WRONG_TYPE, top, message, _KINDS_HELP)
    kinds = _kinds_of(document)
    if not kinds:
        message = "the file has none of the keys `workflow`, `rules` and `shared`"
        return Finding(MISSING_KEY, top, message, _KINDS_HELP)
    keys = " and ".join(f"`{key}`" for key in kinds)
    place = document.key_place((kinds[1],))
    return Finding(UNKNOWN_KEY, place, f"the file has the keys {keys}; it can be one of them only")


def _with_includes(
    parsed: ParsedWorkflow, definition: Definition, read: Read | None
) -> ParsedWorkflow:
    """The parsed file together with what it takes over."""
    includes = Includes(parsed.document, read)
    files = tuple(includes.shared_files(definition.use or ()))
    facts = dict(includes.fact_values(definition.facts))
    definition, document, conflicts = with_shared(definition, parsed.document, files)
    findings = (*includes.findings, *conflicts)
    return replace(
        parsed,
        document=document,
        bundle=bundle_text(document.file, parsed.text, includes.texts),
        definition=None if findings else definition,
        findings=(*parsed.findings, *findings),
        fact_files=facts,
        texts={**parsed.texts, **{file.document.file: file.text for file in files}},
    )
