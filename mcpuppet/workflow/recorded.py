"""Texts of workflows and rules as they were recorded, compiled again.

A recorded text is known by its hash and needs no file on disk. It was checked when it was recorded,
so it is not checked again.
"""

from __future__ import annotations

from mcpuppet.errors import AuditError
from mcpuppet.workflow.compiler import (
    CompiledRules,
    CompiledWorkflow,
    compile_rules,
    compile_workflow,
    text_hash,
)
from mcpuppet.workflow.definition import RulesDefinition, WorkflowDefinition
from mcpuppet.workflow.parser import ParsedWorkflow, parse_bundle


def recompile(text: str, workflow_hash: str) -> CompiledWorkflow:
    """Compile a workflow's recorded text, a bundle or not, again.

    Raises AuditError when it is not what was recorded.
    """
    parsed = _recorded(text, workflow_hash)
    if not isinstance(parsed.definition, WorkflowDefinition):
        raise AuditError(f"the recorded text {workflow_hash[:12]} holds no workflow")
    return compile_workflow(parsed.definition, parsed.bundle, parsed.fact_files)


def recompile_rules(text: str, rules_hash: str) -> CompiledRules:
    """Compile the recorded text of rules, a bundle or not, again; raises as `recompile` does."""
    parsed = _recorded(text, rules_hash)
    if not isinstance(parsed.definition, RulesDefinition):
        raise AuditError(f"the recorded text {rules_hash[:12]} holds no rules")
    return compile_rules(parsed.definition, parsed.bundle, parsed.fact_files)


def _recorded(text: str, recorded_hash: str) -> ParsedWorkflow:
    file = f"workflow {recorded_hash[:12]}"
    if text_hash(text) != recorded_hash:
        raise AuditError(f"the recorded text of {file} has been changed")
    parsed = parse_bundle(text, file)
    if parsed.definition is None:
        raise AuditError(f"the recorded text of {file} cannot be read")
    return parsed
