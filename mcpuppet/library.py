"""The workflows that may be started, and those that sessions were started with.

A session keeps the workflow it began with: its text is in the store under its hash, and is compiled
again from there when the file on disk has moved on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from mcpuppet.errors import AuditError, InvalidInputError, InvalidWorkflowError
from mcpuppet.store.protocol import Store
from mcpuppet.workflow.checks import check
from mcpuppet.workflow.compiler import CompiledWorkflow, compile_workflow
from mcpuppet.workflow.findings import Finding
from mcpuppet.workflow.parser import parse_workflow


def workflow_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The YAML files at `paths`: files as they are, folders by what they hold, sorted.

    Raises InvalidInputError for a path that does not exist.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
        elif path.exists():
            yield path
        else:
            raise InvalidInputError(f"{path} does not exist")


def read_workflow(
    source: bytes | str, file: str, servers: frozenset[str] | None = None
) -> CompiledWorkflow:
    """Parse, check and compile; raises InvalidWorkflowError when a finding is an error."""
    parsed = parse_workflow(source, file)
    findings = check(parsed, servers=servers)
    errors = [one for one in findings if one.severity == "error"]
    if errors or parsed.definition is None:
        raise InvalidWorkflowError(errors)
    return compile_workflow(parsed.definition, parsed.text)


def load_workflows(
    paths: Iterable[Path], servers: frozenset[str] | None = None
) -> dict[str, CompiledWorkflow]:
    """Load every workflow at `paths`, by name; raises with the findings of all files."""
    loaded: dict[str, CompiledWorkflow] = {}
    findings: list[Finding] = []
    for path in workflow_files(paths):
        try:
            workflow = read_workflow(_read(path), str(path), servers)
        except InvalidWorkflowError as error:
            findings.extend(error.findings)
            continue
        if workflow.name in loaded:
            raise InvalidInputError(f"two files define the workflow {workflow.name!r}: see {path}")
        loaded[workflow.name] = workflow
    if findings:
        raise InvalidWorkflowError(findings)
    return loaded


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error


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
