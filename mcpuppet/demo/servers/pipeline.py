"""The `pipeline` server: loads tables, publishes datasets and takes them back.

It owns what is loaded, quarantined and published. It does not know whether tables were loaded
before a dataset is published.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from mcpuppet.demo.servers._common import DatasetName, State, Toolbox, known_dataset

Table = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_]*$", description="The table to load, such as `fact_orders`."),
]


class Publication(BaseModel):
    """A dataset's versions, the last one in use; the newest ever; and the checks since."""

    model_config = ConfigDict(extra="forbid")

    versions: list[int] = Field(default_factory=list)
    newest: int = 0
    checks: int = 0

    @property
    def current(self) -> int:
        """The version in use, 0 if none is."""
        return self.versions[-1] if self.versions else 0


class PipelineState(State):
    """Rows by table, quarantined rows by dataset, and publications by dataset."""

    tables: dict[str, int] = Field(default_factory=dict)
    quarantined: dict[str, int] = Field(default_factory=dict)
    publications: dict[str, Publication] = Field(default_factory=dict)

    def publication(self, dataset: str) -> Publication:
        """Return the publication of a dataset that exists, new if there was none."""
        known_dataset(dataset)
        return self.publications.setdefault(dataset, Publication())


class Rows(TypedDict):
    """How many rows were concerned."""

    rows: Annotated[int, Field(ge=0)]


class Version(TypedDict):
    """The version in use after the call; 0 if none is."""

    version: Annotated[int, Field(ge=0)]


class Health(TypedDict):
    """How a dataset is doing."""

    status: Literal["green", "amber", "red"]


class Status(TypedDict):
    """Rows by table, quarantined rows by dataset, and the version in use by dataset."""

    tables: dict[str, int]
    quarantined: dict[str, int]
    versions: dict[str, int]


TOOLBOX = Toolbox("pipeline", "Load tables, publish datasets and watch them.", PipelineState)


@TOOLBOX.changes()
def load_table(state: PipelineState, table: Table, dataset: DatasetName = "orders") -> Rows:
    """Load a dataset's rows into a table, without the quarantined ones; replaces its content."""
    rows = known_dataset(dataset).rows - state.quarantined.get(dataset, 0)
    state.tables[table] = rows
    return {"rows": rows}


@TOOLBOX.changes()
def publish(state: PipelineState, dataset: DatasetName = "orders") -> Version:
    """Publish a dataset's loaded tables to everyone as a new version."""
    publication = state.publication(dataset)
    publication.newest += 1
    publication.versions.append(publication.newest)
    publication.checks = 0
    return {"version": publication.current}


@TOOLBOX.changes()
def check_health(state: PipelineState, dataset: DatasetName = "orders") -> Health:
    """Check how a published dataset is doing, and record the check.

    Amber means it is still settling, so check again; red means that nothing is published.
    """
    publication = state.publication(dataset)
    publication.checks += 1
    if publication.current == 0:
        return {"status": "red"}
    return {"status": "amber" if publication.checks == 1 else "green"}


@TOOLBOX.changes()
def quarantine(state: PipelineState, dataset: DatasetName) -> Rows:
    """Set a dataset's bad rows aside, so that they are not loaded; return how many they are."""
    rows = known_dataset(dataset).errors
    state.quarantined[dataset] = rows
    return {"rows": rows}


@TOOLBOX.changes(destructive=True)
def rollback(state: PipelineState, dataset: DatasetName) -> Version:
    """Put the version before the current one back in use; 0 means that nothing is published."""
    publication = state.publication(dataset)
    if not publication.versions:
        raise ToolError(f"dataset {dataset!r} has no published version to take back")
    publication.versions.pop()
    publication.checks = 0
    return {"version": publication.current}


@TOOLBOX.reads
def pipeline_status(state: PipelineState) -> Status:
    """Return what is loaded, quarantined and published now."""
    versions = {name: publication.current for name, publication in state.publications.items()}
    return {"tables": state.tables, "quarantined": state.quarantined, "versions": versions}


if __name__ == "__main__":
    TOOLBOX.serve()
