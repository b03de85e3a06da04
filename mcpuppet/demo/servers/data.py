"""The `data` server: checks, processes and backs up datasets.

It owns what it has processed and backed up. It does not know whether a dataset was checked first.
"""

from __future__ import annotations

from typing import Annotated, Final, TypedDict

from pydantic import Field

from mcpuppet.demo.servers._common import DATASETS, DatasetName, State, Toolbox, known_dataset

_BYTES_PER_ROW: Final = 128


class DataState(State):
    """How often and how much this server has processed and backed up."""

    runs: int = 0
    rows: int = 0
    backups: dict[str, str] = Field(default_factory=dict)


class Validation(TypedDict):
    """What a check of a dataset found."""

    valid: bool
    rows: Annotated[int, Field(ge=0)]
    errors: Annotated[int, Field(ge=0)]


class Processing(TypedDict):
    """How many rows were processed."""

    processed: Annotated[int, Field(ge=0)]


class Backup(TypedDict):
    """A backup that was made, and its size."""

    backup_id: str
    bytes: Annotated[int, Field(ge=0)]


class Status(TypedDict):
    """How much this server has done so far."""

    runs: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=0)]
    backups: Annotated[int, Field(ge=0)]


TOOLBOX = Toolbox("data", "Check, process and back up the company's datasets.", DataState)


@TOOLBOX.reads
def validate_data(_state: DataState, dataset: DatasetName = "orders") -> Validation:
    """Check a dataset and count its rows and its bad rows; it is valid if none is bad."""
    found = known_dataset(dataset)
    return {"valid": found.errors == 0, "rows": found.rows, "errors": found.errors}


@TOOLBOX.changes()
def process_data(state: DataState, dataset: DatasetName = "orders") -> Processing:
    """Process the good rows of a dataset and return how many there were."""
    found = known_dataset(dataset)
    rows = found.rows - found.errors
    state.runs += 1
    state.rows += rows
    return {"processed": rows}


@TOOLBOX.changes()
def backup_data(
    state: DataState,
    label: Annotated[str, Field(min_length=1, description="A name to find it by.")] = "latest",
) -> Backup:
    """Back up all datasets under a label and return the new backup's id and size in bytes."""
    backup_id = state.mint("backup")
    state.backups[backup_id] = label
    rows = sum(dataset.rows for dataset in DATASETS.values())
    return {"backup_id": backup_id, "bytes": rows * _BYTES_PER_ROW}


@TOOLBOX.reads
def data_status(state: DataState) -> Status:
    """Count the processing runs, the rows processed and the backups made so far."""
    return {"runs": state.runs, "rows": state.rows, "backups": len(state.backups)}


if __name__ == "__main__":
    TOOLBOX.serve()
