"""An orchestrator as the product wires it, on a real store, with servers made of functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from mcpuppet.audit.record import open_record
from mcpuppet.audit.replay.store import replay_store
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.library import Library
from mcpuppet.orchestrator import Orchestrator
from mcpuppet.people.deciding import Person
from mcpuppet.session.call import Principal
from mcpuppet.session.events import Event, event_from
from mcpuppet.settings import PrincipalSettings, Settings, Unlisted
from mcpuppet.store.nodes import Nodes
from mcpuppet.store.sqlite import SqliteStore
from mcpuppet.workflow.compiled import CompiledRules
from mcpuppet.workflow.compiler import compile_rules
from mcpuppet.workflow.definition import RulesDefinition
from mcpuppet.workflow.parser import parse_workflow
from support.fakes import Clock, FakeServers, Ids
from support.play import HEADER, compiled

ALICE = Person("alice", frozenset({"boss"}))
BOB = Person("bob", frozenset({"boss"}))


@asynccontextmanager
async def governed(
    folder: Path,
    *bodies: str,
    servers: FakeServers | None = None,
    clock: Clock | None = None,
    node: str = "node_1",
    default: str | None = None,
    rules: str | None = None,
    unlisted: Unlisted = "deny",
    roles: Mapping[str, frozenset[str]] | None = None,
    ids: Ids | None = None,
) -> AsyncIterator[tuple[Orchestrator, FakeServers]]:
    """An orchestrator over the given workflows, and the fake servers behind it.

    `rules` is the text of a rules file, without its first line, that governs every principal.
    """
    book = None if rules is None else compiled_rules(rules)
    workflows = {one.name: one for one in (compiled(body) for body in bodies)}
    servers = FakeServers() if servers is None else servers
    for workflow in workflows.values():
        for tool in (*workflow.tools, *(one for one in workflow.always if "*" not in one)):
            if tool not in servers.behaviours:
                servers.offer(tool)
    names = {tool.partition(".")[0] for tool in servers.behaviours}
    settings = Settings(
        servers=tuple(ServerSettings(name, "unused") for name in sorted(names)),
        store=folder / "mcpuppet.db",
        default_workflow=default,
        principals={
            name: PrincipalSettings(Principal(name, one), rules=book and book.name)
            for name, one in (roles or {}).items()
        },
        rules=book and book.name,
        unlisted=unlisted,
        hash="0" * 64,
    )
    store = SqliteStore(settings.store)
    nodes = Nodes(settings.store, node)
    try:
        yield (
            Orchestrator(
                settings=settings,
                store=store,
                library=Library(workflows, store, {} if book is None else {book.name: book}),
                servers=servers,
                nodes=nodes,
                node_id=node,
                clock=clock or Clock(),
                new_id=ids or Ids(),
                jitter=lambda: 0.0,
            ),
            servers,
        )
        if settings.store.exists():  # a test that makes no call leaves none
            assert replay_store(store.reader).mismatches == ()
    finally:
        await store.close()
        nodes.leave()


def compiled_rules(body: str) -> CompiledRules:
    """Compile rules given without the first line of their file."""
    parsed = parse_workflow(f"mcpuppet: 1\n{body}", "rules.yaml")
    assert isinstance(parsed.definition, RulesDefinition), [str(one) for one in parsed.findings]
    return compile_rules(parsed.definition, parsed.text, parsed.fact_files)


def events_of(orchestrator: Orchestrator, session_id: str) -> list[Event]:
    """Everything that was recorded of a session."""
    with orchestrator.store.reader() as reader:
        opened = [open_record(record.body) for record in reader.records(session_id)]
    return [event_from(one.kind, one.data) for one in opened]


def tiny(body: str, name: str = "tiny") -> str:
    """A workflow text of its own name."""
    return HEADER.replace("tiny", name) + body
