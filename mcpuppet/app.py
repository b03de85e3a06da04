"""The composition root: the only place that picks implementations and wires them together."""

from __future__ import annotations

import base64
import random
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mcpuppet.audit.log import AuditLog
from mcpuppet.audit.monitor import AuditMonitor
from mcpuppet.ledger import Ledger
from mcpuppet.library import (
    Library,
    check_files,
    compile_files,
    compile_rules_files,
    require_names,
    shared_tools,
)
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.custody import Custody
from mcpuppet.people.deciding import People
from mcpuppet.redaction.secrets import Scrubber, secrets_of
from mcpuppet.settings import Settings, load_settings
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.protocol import Store
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.store.sqlite_reader import open_view
from mcpuppet.workflow.checks import Outside
from mcpuppet.workflow.compiled import CompiledRules, CompiledWorkflow

_RANDOM_BYTES = {"ses": 20, "node": 10}
_DEFAULT_RANDOM_BYTES = 8


def new_id(kind: str) -> str:
    """A fresh id such as `call_k3…`; sessions get 160 random bits: ids are capabilities."""
    raw = secrets.token_bytes(_RANDOM_BYTES.get(kind, _DEFAULT_RANDOM_BYTES))
    return f"{kind}_{base64.b32encode(raw).decode().rstrip('=').lower()}"


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - stdout belongs to the protocol


@dataclass(frozen=True, slots=True)
class Desk:
    """What people decide and look things up with: the store and its sessions, and no server."""

    settings: Settings
    store: Store
    ledger: Ledger
    people: People
    audit_monitor: AuditMonitor
    audit_log: AuditLog
    custody: Custody


@asynccontextmanager
async def open_orchestrator(
    settings: Settings | Path | str,
    *,
    on_tools_changed: Callable[[str], None] | None = None,
    log: Callable[[str], None] = _to_stderr,
) -> AsyncIterator[Orchestrator]:
    """An orchestrator on the embedded store, with the servers that the settings name.

    No server is started and no store is touched before it is needed. Raises InvalidInputError or
    InvalidWorkflowError when settings or workflows cannot be used.
    """
    # MCP costs a second of imports, which somebody at the desk should not wait for.
    from mcpuppet.gateway.downstream import Downstreams  # noqa: PLC0415
    from mcpuppet.pins import Pins  # noqa: PLC0415

    if not isinstance(settings, Settings):
        settings = load_settings(Path(settings))
    workflows, rules = load_configured(settings)
    async with _open_store(settings) as (store, nodes, node_id):
        pins = Pins(settings.lock, store, _office_ledger(settings, store, nodes, node_id), node_id)
        async with Downstreams(
            settings.servers, on_tools_changed=on_tools_changed, screen=pins, log=log
        ) as servers:
            yield Orchestrator(
                settings=settings,
                store=store,
                library=Library(workflows, store, rules),
                servers=servers,
                nodes=nodes,
                node_id=node_id,
                clock=utc_now,
                new_id=new_id,
                jitter=random.random,
            )


@asynccontextmanager
async def open_desk(settings: Settings) -> AsyncIterator[Desk]:
    """The desk over the embedded store.

    Only workflows that sessions began with matter here, and the store holds those: a workflow file
    that is broken today keeps nobody from deciding.
    """
    async with _open_store(settings) as (store, nodes, node_id):
        ledger = _office_ledger(settings, store, nodes, node_id)
        audit_log = open_audit_log(settings)
        yield Desk(
            settings=settings,
            store=store,
            ledger=ledger,
            people=People(ledger, store, settings),
            audit_monitor=AuditMonitor(store.reader, audit_log.kept),
            audit_log=audit_log,
            custody=Custody(ledger, store, audit_log, settings.hash),
        )


def open_audit_log(settings: Settings, log: Callable[[str], None] = _to_stderr) -> AuditLog:
    """The signed log of the embedded store; nothing is touched yet."""
    return AuditLog(partial(open_view, settings.store), settings.audit, log)


def _office_ledger(settings: Settings, store: Store, nodes: Nodes, node_id: str) -> Ledger:
    """A ledger that knows only the workflows that sessions began with."""
    library, scrubber = Library({}, store), Scrubber(secrets_of(settings.servers))
    return Ledger(store, library, nodes, node_id, utc_now, new_id, random.random, scrubber=scrubber)


@asynccontextmanager
async def _open_store(settings: Settings) -> AsyncIterator[tuple[SqliteStore, Nodes, str]]:
    """The embedded store, and this process among those that share it; nothing is touched yet."""
    store = SqliteStore(settings.store)
    node_id = new_id("node")
    nodes = Nodes(settings.store, node_id)
    try:
        yield store, nodes, node_id
    finally:
        await store.close()
        nodes.leave()


def load_configured(
    settings: Settings,
) -> tuple[dict[str, CompiledWorkflow], dict[str, CompiledRules]]:
    """The workflows and rules files of the settings, checked against servers and principals.

    Raises InvalidWorkflowError with every finding, and InvalidInputError for a name that is none.
    """
    servers = frozenset(one.name for one in settings.servers)
    files = check_files(settings.workflows, Outside(servers=servers))
    workflows = compile_files(files, shared_tools(settings, files))
    rules = compile_rules_files(files)
    require_names(settings, set(workflows), set(rules))
    return workflows, rules
