"""The state of a session's run, now or right after any of its records, as a picture shows it.

The records are folded as far as asked, and the workflow is the one that the run was started with,
by its hash: a run that ended long ago is drawn under the rules it had. What time alone has brought
about since the last record is not in it. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from mcpuppet.audit.history import event_of
from mcpuppet.audit.reader import SessionReader
from mcpuppet.audit.record import OpenedRecord, open_record
from mcpuppet.errors import AuditError, InvalidInputError, UnknownSessionError
from mcpuppet.session import events as e
from mcpuppet.session.call import Principal
from mcpuppet.session.consequences import Progress, Source
from mcpuppet.session.fold import apply
from mcpuppet.session.state import RunState, SessionState
from mcpuppet.views import SessionView, session_view
from mcpuppet.workflow.compiler import CompiledWorkflow
from mcpuppet.workflow.definition import WorkflowDefinition
from mcpuppet.workflow.diagram import LiveState
from mcpuppet.workflow.marking import FAILURE, event_bit
from mcpuppet.workflow.recorded import recompile

_WORDS = {"success": "done", "failure": "failed"}


@dataclass(frozen=True, slots=True)
class RunPicture:
    """What to draw: the workflow as it was recorded, and where the run stood after record `seq`."""

    definition: WorkflowDefinition
    live: LiveState
    session_id: str
    seq: int


def run_picture(
    reader: SessionReader,
    session_id: str,
    at: int | None,
    principal: Callable[[str], Principal],
    now: datetime,
) -> RunPicture:
    """The latest run right after record `at`, or after the last one; `principal` gives the roles.

    What was legal is asked for the moment of the record, or for `now` without `at`. Raises
    UnknownSessionError, InvalidInputError for a record that is not there or a session without a
    run by then, and AuditError when the records cannot be read.
    """
    records = [open_record(one.body) for one in reader.records(session_id)]
    if not records:
        raise UnknownSessionError(session_id)
    seq = records[-1].seq if at is None else at
    if not 1 <= seq <= records[-1].seq:
        raise InvalidInputError(
            f"there is no record {seq} in session {session_id!r}: it has records 1 to "
            f"{records[-1].seq}"
        )
    read = _Reading(session_id, [one for one in records if one.seq <= seq])
    state, run = read.state, read.state.run
    if run is None:
        raise InvalidInputError(_no_run(session_id, seq, records))
    workflow = _recorded_workflow(reader, run)
    moment = now if at is None else read.last.at
    progress = Progress(session_id, state, workflow, Source(moment, str, lambda: 0.0))
    view = session_view(progress, principal(state.principal))
    live = LiveState(
        statuses=dict(_statuses(workflow, state, run, view)),
        refused=_refused(workflow, read.refusals),
        end=run.status if run.ended else None,
        redone=frozenset(step for step in run.steps if run.count(f"redo:{step}")),
        caption=tuple(_caption(session_id, read.last, records[-1].seq, run)),
    )
    return RunPicture(workflow.definition, live, session_id, seq)


class _Reading:
    """A session's records, folded; of calls that were refused, those of the latest run."""

    def __init__(self, session_id: str, records: list[OpenedRecord]) -> None:
        state: SessionState | None = None
        self.refusals: list[e.CallDenied] = []
        for record in records:
            event = event_of(record)
            state = apply(session_id, state, event, record.at)
            if isinstance(event, e.RunStarted):
                self.refusals.clear()
            elif isinstance(event, e.CallDenied):
                self.refusals.append(event)
        self._state = state
        self._records = records

    @property
    def state(self) -> SessionState:
        assert self._state is not None
        return self._state

    @property
    def last(self) -> OpenedRecord:
        return self._records[-1]


def _no_run(session_id: str, seq: int, records: list[OpenedRecord]) -> str:
    first = next((one.seq for one in records if one.kind == e.RunStarted.__name__), None)
    if first is None:
        return f"session {session_id!r} has had no run, so there is no workflow to draw"
    return f"by record {seq} session {session_id!r} had no run: its first began with record {first}"


def _recorded_workflow(reader: SessionReader, run: RunState) -> CompiledWorkflow:
    text = reader.workflow_text(run.hash)
    if text is None:
        raise AuditError(f"the store lacks the text of workflow {run.hash[:12]}")
    return recompile(text, run.hash)


def _statuses(
    workflow: CompiledWorkflow, state: SessionState, run: RunState, view: SessionView
) -> Iterator[tuple[str, str]]:
    """A state word for every step, and for every undo call that is more than pending."""
    for step in view.steps:
        expired = run.seen & event_bit(run.index[step.id], "expired")
        if expired and run.step_status(step.id) == FAILURE:
            yield step.id, "expired"
        else:
            yield step.id, _WORDS.get(step.status, step.status)
        if step.status == "undone":
            yield f"undo-{step.id}", "done"
    for legal in view.legal:
        if legal.purpose == "compensation" and legal.step is not None:
            yield f"undo-{legal.step}", "legal"
    for call in state.calls.values():
        if call.run_id == run.run_id and call.step in workflow.index:
            name = f"undo-{call.step}" if call.purpose == "compensation" else str(call.step)
            yield name, "unknown" if call.unknown else "running"


def _refused(workflow: CompiledWorkflow, refusals: list[e.CallDenied]) -> dict[str, int]:
    """Refused calls by step: the one that was decided on, else every step that has the tool."""
    counts: Counter[str] = Counter()
    for refusal in refusals:
        if refusal.step is not None:
            counts[refusal.step] += 1
        else:
            counts.update(step.id for step in workflow.by_tool.get(refusal.tool, ()))
    return dict(counts)


def _caption(session_id: str, last: OpenedRecord, records: int, run: RunState) -> Iterator[str]:
    moment = last.at.astimezone(UTC)
    yield (
        f"session {session_id} · after record {last.seq} of {records} ({last.kind}), "
        f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    )
    why = f": {run.end_reason}" if run.end_reason else ""
    yield f"run {run.run_id} · {run.status.replace('_', ' ')}{why}"
