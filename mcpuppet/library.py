"""The workflows that may be started, and those that sessions were started with.

A session keeps the workflow it began with: its text is in the store under its hash, and is compiled
again from there when the file on disk has moved on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcpuppet.errors import AuditError, InvalidInputError, InvalidWorkflowError
from mcpuppet.settings import AGENT, Settings
from mcpuppet.store.protocol import Store
from mcpuppet.workflow.checks import check
from mcpuppet.workflow.compiler import CompiledWorkflow, compile_workflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.findings import DUPLICATE_WORKFLOW, SHARED_TOOL, Finding
from mcpuppet.workflow.parser import ParsedWorkflow, parse_workflow


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """One file as it was read and checked."""

    path: Path
    parsed: ParsedWorkflow
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def definition(self) -> WorkflowDefinition | None:
        """The workflow, if nothing is wrong with it."""
        return None if self.errors else self.parsed.definition


def workflow_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the YAML files directly in the folders named, sorted, each once.

    Raises InvalidInputError for a path that does not exist and a folder without workflows.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
            if not inside:
                raise InvalidInputError(f"{path} holds no workflow: no file ends in .yaml or .yml")
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise InvalidInputError(f"{path} does not exist; name workflow files or their folder")
    return list(found)


def check_files(paths: Iterable[Path], servers: frozenset[str] | None = None) -> list[WorkflowFile]:
    """Read and check the workflow files at `paths`; `servers` are the configured names, if known.

    Raises InvalidInputError when a file cannot be read at all.
    """
    checked: list[WorkflowFile] = []
    holders: dict[str, Path] = {}
    for path in workflow_files(paths):
        parsed = parse_workflow(_read(path), str(path))
        findings = check(parsed, servers=servers)
        if parsed.definition is not None:
            name = parsed.definition.workflow
            first = holders.setdefault(name, path)
            if first != path:
                place = parsed.document.place(("workflow",))
                words = f"{first} holds a workflow of the name {name!r} as well"
                findings.append(Finding(DUPLICATE_WORKFLOW, place, words, "names are unique"))
        checked.append(WorkflowFile(path, parsed, tuple(findings)))
    return checked


def shared_tools(settings: Settings, files: Sequence[WorkflowFile]) -> Iterator[Finding]:
    """Tools that two workflows of one principal hold: the model could pick the laxer rules.

    Those that the settings name under `shared_tools` are meant to be shared.
    """
    principals = settings.principals or {AGENT: settings.principal(AGENT)}
    for name, principal in principals.items():
        holders: dict[str, str] = {}
        for file in files:
            definition = file.parsed.definition
            if definition is None or not principal.may_start(definition.workflow):
                continue
            for step, tool in _tools_of(definition):
                first = holders.setdefault(tool, definition.workflow)
                if first != definition.workflow and tool not in settings.shared_tools:
                    words = f"{name} may use {tool} in {first} as well, and so pick the laxer rules"
                    place = file.parsed.document.place(("steps", step))
                    yield Finding(SHARED_TOOL, place, words, "if it is meant: shared_tools")


def _tools_of(definition: WorkflowDefinition) -> Iterator[tuple[str, str]]:
    for name, step in definition.steps.items():
        yield from ((name, tool) for tool in step.tool or ())
        if step.compensate is not None:
            yield name, step.compensate.tool


def compile_files(
    files: Iterable[WorkflowFile], further: Iterable[Finding] = ()
) -> dict[str, CompiledWorkflow]:
    """The workflows of checked files, by name.

    Raises InvalidWorkflowError with the errors of all files and the `further` ones.
    """
    files = list(files)
    errors = [*(one for file in files for one in file.errors), *further]
    if errors:
        raise InvalidWorkflowError(errors)
    return {
        file.definition.workflow: compile_workflow(file.definition, file.parsed.text)
        for file in files
        if file.definition is not None
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error


class Library:
    """Workflows by name, as configured, and by hash, as recorded."""

    def __init__(self, workflows: Mapping[str, CompiledWorkflow], store: Store) -> None:
        self.workflows = dict(workflows)
        self._store = store
        self._by_hash = {one.hash: one for one in workflows.values()}
        self._stored: set[str] = set()

    async def keep(self, workflow: CompiledWorkflow) -> None:
        """Put a workflow's text into the store, once per process."""
        if workflow.hash not in self._stored:
            await self._store.put_workflow(
                workflow.hash, workflow.name, workflow.version, workflow.text
            )
            self._stored.add(workflow.hash)

    async def by_hash(self, workflow_hash: str) -> CompiledWorkflow:
        """The workflow with this hash; raises AuditError when the store does not hold its text."""
        known = self._by_hash.get(workflow_hash)
        if known is None:
            text = await self._store.workflow_text(workflow_hash)
            if text is None:
                raise AuditError(f"the store lacks the text of workflow {workflow_hash[:12]}")
            known = recompile(text, workflow_hash)
            self._by_hash[workflow_hash] = known
        return known


def recompile(text: str, workflow_hash: str) -> CompiledWorkflow:
    """Compile recorded text again; raises AuditError when it is not the text that was recorded."""
    file = f"workflow {workflow_hash[:12]}"
    parsed = parse_workflow(text, file)
    if parsed.definition is None:
        raise AuditError(f"the recorded text of {file} cannot be read")
    workflow = compile_workflow(parsed.definition, parsed.text)
    if workflow.hash != workflow_hash:
        raise AuditError(f"the recorded text of {file} has been changed")
    return workflow
