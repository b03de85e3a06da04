"""`mcpuppet.yaml`: which servers, which workflows, where the store is, and who may start what.

Read once, checked with a file:line:column for every mistake, and frozen. Paths in the file are
relative to the file. Nothing here starts a server or opens a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mcpuppet.errors import InvalidInputError, InvalidWorkflowError
from mcpuppet.gateway.server_settings import ServerSettings
from mcpuppet.lockfile import LOCK_NAME
from mcpuppet.session.call import Principal
from mcpuppet.workflow.definition import Duration, RoleName, Section
from mcpuppet.workflow.parser import validate_document
from mcpuppet.workflow.yaml_reader import read_yaml

AGENT = "agent"
"""The principal of a connection that presents no credential of its own."""

Surface = Literal["auto", "dynamic", "stable"]
Unlisted = Literal["deny", "allow", "observe"]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class ServerSection(Section):
    """One entry of `servers:`, in the shape of `mcpServers` in client configurations."""

    command: Annotated[str, Field(min_length=1)]
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    connect_timeout: Duration = timedelta(seconds=20)


class PrincipalSection(Section):
    """What a principal is, and which workflows it may start."""

    roles: list[RoleName] = []
    allowed_workflows: list[str] | None = None
    rules: str | None = None


class AuditSection(Section):
    """Where checkpoints of the audit trail are signed and kept, and how often."""

    directory: str | None = None
    copy_to: str | None = None
    every_records: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1_000
    every: Duration = timedelta(seconds=60)


class SettingsFile(Section):
    """The keys of `mcpuppet.yaml`."""

    servers: dict[ServerName, ServerSection] = {}
    workflows: list[str] = ["workflows"]
    store: str = "mcpuppet.db"
    default_workflow: str | None = None
    surface: Surface = "auto"
    list_barrier: Duration = timedelta(milliseconds=150)
    call_timeout: Duration = timedelta(minutes=2)
    principals: dict[str, PrincipalSection] = {}
    shared_tools: list[str] = []
    rules: str | None = None
    unlisted: Unlisted = "deny"
    replay_window: Duration = timedelta(seconds=30)
    audit: AuditSection = AuditSection()


@dataclass(frozen=True, slots=True)
class PrincipalSettings:
    """A principal, the workflows it may start, and the rules file that governs its sessions."""

    principal: Principal
    allowed_workflows: frozenset[str] | None = None
    """None allows every configured one."""
    rules: str | None = None

    def may_start(self, workflow: str) -> bool:
        return self.allowed_workflows is None or workflow in self.allowed_workflows


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where checkpoints are kept; `directory` also holds the signing key and the tree's tiles."""

    directory: Path
    copy_to: Path | None = None
    """A second place for every checkpoint, such as a mounted share that others own."""
    every_records: int = 1_000
    every: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings in force, with absolute paths. `hash` is the SHA-256 of the file, in hex."""

    servers: tuple[ServerSettings, ...] = ()
    workflows: tuple[Path, ...] = ()
    store: Path = Path("mcpuppet.db")
    default_workflow: str | None = None
    surface: Surface = "auto"
    list_barrier: timedelta = timedelta(milliseconds=150)
    call_timeout: timedelta = timedelta(minutes=2)
    principals: Mapping[str, PrincipalSettings] = field(default_factory=dict)
    shared_tools: frozenset[str] = frozenset()
    rules: str | None = None
    """The rules file of every principal that names no other."""
    unlisted: Unlisted = "deny"
    """What becomes of a call of a tool outside every workflow and rules file."""
    replay_window: timedelta = timedelta(seconds=30)
    """For how long a call that ended is answered again from the record."""
    audit: AuditSettings = AuditSettings(Path("mcpuppet.db.audit"))
    lock: Path = Path("mcpuppet.lock")
    """Where accepted definitions of tools are pinned; there need not be such a file."""
    hash: str = ""

    def principal(self, name: str) -> PrincipalSettings:
        """The settings of a principal; one that is not listed has no roles."""
        return self.principals.get(name) or PrincipalSettings(Principal(name), rules=self.rules)


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises InvalidInputError when the file cannot be read, and InvalidWorkflowError with a finding
    for every mistake in it.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read settings {path}: {error.strerror}") from error
    document = read_yaml(source, str(path))
    if document.data is None and not document.findings:
        return _resolve(SettingsFile(), path.parent, source)
    file, findings = validate_document(document, SettingsFile)
    if file is None or document.findings:
        raise InvalidWorkflowError([*document.findings, *findings])
    return _resolve(file, path.parent, source)


def _resolve(file: SettingsFile, base: Path, source: bytes) -> Settings:
    base = base.absolute()
    store = base / Path(file.store).expanduser()
    return Settings(
        servers=tuple(
            ServerSettings(
                name=name,
                command=server.command,
                args=tuple(server.args),
                env=dict(server.env),
                cwd=None if server.cwd is None else str(base / server.cwd),
                connect_timeout=server.connect_timeout,
            )
            for name, server in file.servers.items()
        ),
        workflows=tuple(base / one for one in file.workflows),
        store=store,
        default_workflow=file.default_workflow,
        surface=file.surface,
        list_barrier=file.list_barrier,
        call_timeout=file.call_timeout,
        principals={
            name: PrincipalSettings(
                Principal(name, frozenset(one.roles)),
                None if one.allowed_workflows is None else frozenset(one.allowed_workflows),
                one.rules or file.rules,
            )
            for name, one in file.principals.items()
        },
        shared_tools=frozenset(file.shared_tools),
        rules=file.rules,
        unlisted=file.unlisted,
        replay_window=file.replay_window,
        audit=_audit(file.audit, base, store),
        lock=base / LOCK_NAME,
        hash=hashlib.sha256(source).hexdigest(),
    )


def _audit(section: AuditSection, base: Path, store: Path) -> AuditSettings:
    beside = store.with_name(f"{store.name}.audit")
    return AuditSettings(
        directory=beside
        if section.directory is None
        else base / Path(section.directory).expanduser(),
        copy_to=None if section.copy_to is None else base / Path(section.copy_to).expanduser(),
        every_records=section.every_records,
        every=section.every,
    )
