"""The workflows and rules that are configured, and those that sessions were started with.

A session keeps what it began with: the text is in the store under its hash, and is compiled again
from there when the files on disk have moved on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcpuppet.errors import AuditError, InvalidInputError, InvalidWorkflowError
from mcpuppet.settings import AGENT, PrincipalSettings, Settings
from mcpuppet.store.protocol import Store
from mcpuppet.workflow.checks import Outside, examine
from mcpuppet.workflow.checks.subject import NOTHING_OUTSIDE
from mcpuppet.workflow.compiler import (
    CompiledRules,
    CompiledWorkflow,
    compile_rules,
    compile_workflow,
)
from mcpuppet.workflow.definition import RulesDefinition, WorkflowDefinition, expand_sets
from mcpuppet.workflow.findings import DUPLICATE_WORKFLOW, SHARED_TOOL, Finding
from mcpuppet.workflow.parser import ParsedWorkflow, parse_workflow
from mcpuppet.workflow.recorded import recompile, recompile_rules
from mcpuppet.workflow.yaml_reader import Path as KeyPath
from mcpuppet.workflow_folder import folder_reader, read_workflow_file


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """One file as it was read and checked."""

    path: Path
    parsed: ParsedWorkflow
    findings: tuple[Finding, ...]
    ignored: tuple[Finding, ...] = ()
    """What comments of the file asked to leave out."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def definition(self) -> WorkflowDefinition | None:
        """The workflow, if the file holds one and nothing is wrong with it."""
        found = None if self.errors else self.parsed.definition
        return found if isinstance(found, WorkflowDefinition) else None

    @property
    def rules(self) -> RulesDefinition | None:
        """The rules, if the file holds rules and nothing is wrong with it."""
        found = None if self.errors else self.parsed.definition
        return found if isinstance(found, RulesDefinition) else None


def workflow_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the YAML files directly in the folders named, sorted, each once.

    Raises InvalidInputError for a path that does not exist and a folder without workflows.
    """
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found.update(dict.fromkeys(_files_at(path)))
        except OSError as error:
            raise InvalidInputError(f"cannot read {path}: {error.strerror or error}") from error
    return list(found)


def _files_at(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.exists():
            return [path]
        raise InvalidInputError(f"{path} does not exist; name workflow files or their folder")
    inside = sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
    if not inside:
        raise InvalidInputError(f"{path} holds no workflow: no file ends in .yaml or .yml")
    return inside


def check_files(paths: Iterable[Path], outside: Outside = NOTHING_OUTSIDE) -> list[WorkflowFile]:
    """Read and check the files at `paths`.

    Shared files among them are checked by themselves too. Raises InvalidInputError when a file
    cannot be read at all.
    """
    checked: list[WorkflowFile] = []
    holders: dict[str, Path] = {}
    for path, parsed in _parsed_files(paths):
        examined = examine(parsed, outside)
        findings = (*examined.findings, *_same_name(parsed, path, holders))
        checked.append(WorkflowFile(path, parsed, findings, examined.ignored))
    return checked


def _parsed_files(paths: Iterable[Path]) -> Iterator[tuple[Path, ParsedWorkflow]]:
    for path in workflow_files(paths):
        content = read_workflow_file(path)
        yield path, parse_workflow(content, str(path), folder_reader(path.parent))


def _same_name(parsed: ParsedWorkflow, path: Path, holders: dict[str, Path]) -> Iterator[Finding]:
    """A workflow and rules with one name could not be told apart; `holders` has the earlier."""
    if parsed.definition is None:
        return
    name = parsed.definition.name
    first = holders.setdefault(name, path)
    if first != path:
        kind = "workflow" if isinstance(parsed.definition, WorkflowDefinition) else "rules"
        words = f"{first} has the name {name!r} as well"
        yield Finding(DUPLICATE_WORKFLOW, parsed.document.place((kind,)), words, "names are unique")


def shared_tools(settings: Settings, files: Sequence[WorkflowFile]) -> Iterator[Finding]:
    """Tools that two files govern for one principal: the model could pick the laxer rules.

    Two workflows, or a workflow and the rules file that names the tool itself (a pattern does not
    reach what a workflow orders). Those that the settings name under `shared_tools` are meant.
    """
    principals = settings.principals or {AGENT: settings.principal(AGENT)}
    for name, principal in principals.items():
        holders: dict[str, str] = {}
        for file, tool, path in _governed_tools(files, principal):
            definition = file.parsed.definition
            assert definition is not None
            first = holders.setdefault(tool, definition.name)
            if first != definition.name and tool not in settings.shared_tools:
                words = f"{name} may use {tool} in {first} as well, and so pick the laxer rules"
                place = file.parsed.document.place(path)
                yield Finding(SHARED_TOOL, place, words, "if it is meant: shared_tools")


def names_in(paths: Iterable[Path]) -> tuple[set[str], set[str]]:
    """The names of the workflows and of the rules files at `paths`; nothing is checked."""
    definitions = [parsed.definition for _, parsed in _parsed_files(paths)]
    workflows = {one.name for one in definitions if isinstance(one, WorkflowDefinition)}
    return workflows, {one.name for one in definitions if isinstance(one, RulesDefinition)}


def require_names(settings: Settings, workflows: Collection[str], rules: Collection[str]) -> None:
    """Raise InvalidInputError if the settings name a workflow or rules file that is not there."""
    _require(settings.default_workflow, "default_workflow", workflows)
    _require(settings.rules, "rules", rules)
    for one in settings.principals.values():
        name = one.principal.name
        for workflow in sorted(one.allowed_workflows or ()):
            _require(workflow, f"allowed_workflows of principal {name!r}:", workflows)
        _require(one.rules, f"rules of principal {name!r}:", rules)


def _require(name: str | None, where: str, names: Collection[str]) -> None:
    if name is not None and name not in names:
        known = ", ".join(sorted(names)) or "none"
        raise InvalidInputError(f"{where} {name!r} is not there; there are: {known}")


def _governed_tools(
    files: Sequence[WorkflowFile], principal: PrincipalSettings
) -> Iterator[tuple[WorkflowFile, str, KeyPath]]:
    """The tools of the workflows that a principal may start, then those of its rules file."""
    for file in files:
        definition = file.parsed.definition
        if isinstance(definition, WorkflowDefinition) and principal.may_start(definition.name):
            yield from ((file, tool, ("steps", step)) for step, tool in _tools_of(definition))
    for file in files:
        definition = file.parsed.definition
        if isinstance(definition, RulesDefinition) and definition.name == principal.rules:
            for tool in expand_sets(definition.tools.allow, definition.tools.sets):
                yield file, tool, ("tools", "allow")


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
    return {
        file.definition.workflow: compile_workflow(
            file.definition, file.parsed.bundle, file.parsed.fact_files
        )
        for file in _without_errors(files, further)
        if file.definition is not None
    }


def compile_rules_files(files: Iterable[WorkflowFile]) -> dict[str, CompiledRules]:
    """The rules of checked files, by name. Raises InvalidWorkflowError as `compile_files` does."""
    return {
        file.rules.rules: compile_rules(file.rules, file.parsed.bundle, file.parsed.fact_files)
        for file in _without_errors(files)
        if file.rules is not None
    }


def _without_errors(
    files: Iterable[WorkflowFile], further: Iterable[Finding] = ()
) -> list[WorkflowFile]:
    files = list(files)
    # A mistake in a shared file is found in every file that uses it.
    errors = dict.fromkeys([*(one for file in files for one in file.errors), *further])
    if errors:
        raise InvalidWorkflowError(list(errors))
    return files


class Library:
    """Workflows and rules by name, as configured, and by hash, as recorded."""

    def __init__(
        self,
        workflows: Mapping[str, CompiledWorkflow],
        store: Store,
        rules: Mapping[str, CompiledRules] | None = None,
    ) -> None:
        self.workflows: Mapping[str, CompiledWorkflow] = dict(workflows)
        self.rules: Mapping[str, CompiledRules] = dict(rules or {})
        self._store = store
        self._by_hash = {one.hash: one for one in self.workflows.values()}
        self._rules_by_hash = {one.hash: one for one in self.rules.values()}
        self._stored: set[str] = set()

    async def keep(self, one: CompiledWorkflow | CompiledRules) -> None:
        """Put the text of a workflow or of rules into the store, once per process."""
        if one.hash not in self._stored:
            await self._store.put_workflow(one.hash, one.name, one.version, one.text)
            self._stored.add(one.hash)

    async def by_hash(self, workflow_hash: str) -> CompiledWorkflow:
        """The workflow with this hash; raises AuditError when the store does not hold its text."""
        known = self._by_hash.get(workflow_hash)
        if known is None:
            known = recompile(await self._text(workflow_hash), workflow_hash)
            self._by_hash[workflow_hash] = known
        return known

    async def rules_by_hash(self, rules_hash: str) -> CompiledRules:
        """The rules with this hash; raises AuditError when the store does not hold their text."""
        known = self._rules_by_hash.get(rules_hash)
        if known is None:
            known = recompile_rules(await self._text(rules_hash), rules_hash)
            self._rules_by_hash[rules_hash] = known
        return known

    async def _text(self, recorded_hash: str) -> str:
        text = await self._store.workflow_text(recorded_hash)
        if text is None:
            raise AuditError(f"the store lacks the text of workflow {recorded_hash[:12]}")
        return text
