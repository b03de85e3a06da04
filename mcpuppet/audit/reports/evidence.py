"""What a report evidences of standards and law, and what it does not: a table made of its counts.

Each row is derived from what was recorded and checked, so none can say more than the data does.
Deliberately gives no opinion on whether a system falls under a law or an organisation meets a
standard: an auditor does. Clauses are named, not quoted: SOC 2 Trust Services Criteria (2017, with
the points of focus of 2022), ISO/IEC 42001:2023 Annex A, NIST AI RMF 1.0, Regulation (EU) 2024/1689
with the dates of the Digital Omnibus, OWASP MCP Top 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from mcpuppet.audit.reports.totals import Totals

Status = Literal["evidenced", "in part", "not evidenced", "nothing took place"]

_HIGH_RISK = (
    "applies to high-risk systems of Annex III from 2 December 2027, to those in products from "
    "2 August 2028 (as of the Digital Omnibus approved 29 June 2026)"
)
_SIX_MONTHS = timedelta(days=183)


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One clause: what the report shows of it, and what nobody may conclude from the report."""

    framework: str
    clause: str
    subject: str
    status: Status
    shows: tuple[str, ...]
    lacks: tuple[str, ...]
    applies: str = ""
    """From when on, and to what, where a law says so."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the data says about a clause; `gap` is something it should show and does not."""

    shows: tuple[str, ...]
    lacks: tuple[str, ...]
    gap: bool = False
    nothing: str | None = None
    """Why there is nothing to show."""


def evidence_of(totals: Totals) -> tuple[EvidenceRow, ...]:
    """The table for these counts, in a fixed order of clauses."""
    return tuple(_row(totals, *one) for one in _CLAUSES)


def _row(
    totals: Totals,
    framework: str,
    clause: str,
    subject: str,
    find: Callable[[Totals], _Finding],
    applies: str = "",
) -> EvidenceRow:
    found = find(totals)
    status, shows, lacks = _judged(totals, found)
    return EvidenceRow(framework, clause, subject, status, shows, lacks, applies)


def _judged(totals: Totals, found: _Finding) -> tuple[Status, tuple[str, ...], tuple[str, ...]]:
    if not totals.holds_together:
        return "not evidenced", (), (_distrust(totals), *found.lacks)
    if found.nothing is not None and totals.sessions_pruned:
        gone = f"what the removed contents of {_many(totals.sessions_pruned, 'session')} told"
        return "not evidenced", (), (gone, *found.lacks)
    if found.nothing is not None:
        return "nothing took place", (found.nothing,), found.lacks
    if not found.shows:
        return "not evidenced", (), found.lacks
    return ("in part" if found.gap else "evidenced"), found.shows, found.lacks


def _distrust(totals: Totals) -> str:
    """Why nothing that the records say counts."""
    if totals.breaks:
        return (
            f"anything: the records do not hold together ({_many(totals.breaks, 'break')} in "
            f"{_many(totals.sessions_broken, 'session')})"
        )
    return (
        f"anything: {_many(totals.replay_differing, 'record')} said something else than the "
        "recorded workflow leads to"
    )


# --- one function for each clause ---------------------------------------------------------------


def _access(it: Totals) -> _Finding:
    """Logical access: who was let through to which tool."""
    unnamed = it.calls - it.calls_with_credential
    lacks = [
        "identity proofing of the people and agents behind the names",
        "access to the servers, the host and the store that does not pass through the gateway",
    ]
    if unnamed:
        lacks.insert(0, f"by which credential {_many(unnamed, 'request')} came in")
    return _Finding(
        (
            f"{_many(it.calls, 'request')} to use a tool decided one by one: {it.allowed} allowed, "
            f"{it.denied} refused, {it.deferred} put off until people decide",
            f"the credential is named in {it.calls_with_credential} of {it.calls}",
            f"{_many(it.people_changes, 'change')} to people, roles or tokens recorded",
        ),
        tuple(lacks),
        gap=bool(unnamed),
        nothing=None if it.calls else "no request to use a tool was made in this period",
    )


def _monitoring(it: Totals) -> _Finding:
    """Monitoring for anomalies."""
    return _Finding(
        (
            f"{_many(it.denied, 'refused call')}, {_many(it.near_misses, 'near miss', 'es')}, "
            f"{_many(it.unknown, 'unknown outcome')}, "
            f"{_many(it.tools_changed, 'changed tool definition')} and "
            f"{_many(it.refused_decisions, 'refused attempt')} to decide were recorded",
        ),
        (
            "that anybody was alerted, or looked",
            "calls that did not pass through the gateway",
        ),
        nothing=None if it.calls or it.refused_decisions or it.tools_changed else _NO_EVENT,
    )


_NO_EVENT = "no event that is monitored took place in this period"


def _evaluation(it: Totals) -> _Finding:
    """Evaluation of events: what people did about bypasses and unknown outcomes."""
    reviewed = it.reviews_justified + it.reviews_unjustified
    incidents = it.bypasses + reviewed + it.reviews_open + it.unknown + it.resolved + it.reconciled
    lacks = ["the organisation's handling of incidents outside the gateway"]
    if it.reviews_open:
        overdue = f", {it.reviews_overdue} of them overdue" if it.reviews_overdue else ""
        lacks.insert(0, f"the result of {_many(it.reviews_open, 'open review')}{overdue}")
    if it.unsettled:
        lacks.insert(0, f"what became of {_many(it.unsettled, 'call')} of unknown outcome")
    unreviewed = max(0, it.bypasses - it.reviews_open - reviewed)
    if unreviewed:
        lacks.insert(0, f"a review of {_many(unreviewed, 'bypass', 'es')}: none is recorded")
    return _Finding(
        (
            f"{_many(it.bypasses, 'bypass', 'es')} with a justification; reviews closed: "
            f"{it.reviews_justified} justified, {it.reviews_unjustified} unjustified",
            f"{_many(it.unknown, 'call')} of unknown outcome; settled in this period: "
            f"{it.resolved} by a person, {it.reconciled} by a reading call",
        ),
        tuple(lacks),
        gap=bool(it.reviews_open or it.unsettled or unreviewed),
        nothing=None if incidents else _NO_INCIDENT,
    )


_NO_INCIDENT = "no bypass and no unknown outcome took place in this period"


def _changes(it: Totals) -> _Finding:
    """Changes: which texts were in force, and which tool definitions changed."""
    return _Finding(
        (
            f"{_many(it.versions, 'workflow or rules text')} in force, each named by its SHA-256",
            f"{_many(it.tools_pinned, 'tool definition')} accepted, "
            f"{_many(it.tools_changed, 'change')} of one detected",
        ),
        (
            "who wrote, tested and approved a change of a workflow or rules file before it came "
            "into force",
        ),
        gap=True,
        nothing=None if it.versions else "no workflow or rules file was in force in this period",
    )


def _event_log(it: Totals) -> _Finding:
    """Event logs, and whether they can be relied on."""
    signed = f"{it.sessions_signed} of {_many(it.sessions, 'session')} under a signed checkpoint"
    lacks = [
        "that checkpoints are kept where the operator cannot change them",
        "custody of the signing key",
    ]
    missing = it.sessions - it.sessions_signed
    if missing:
        lacks.insert(
            0,
            "that somebody who can write to the store did not rewrite the records of "
            f"{_many(missing, 'session')} without a signed checkpoint",
        )
    return _Finding(
        (
            f"{_many(it.records, 'record')} of {_many(it.sessions, 'session')}, chained by hash "
            "and verified for this report",
            signed,
        ),
        tuple(lacks),
        gap=bool(missing),
        nothing=None if it.records else "no event took place in this period",
    )


def _performance(it: Totals) -> _Finding:
    """How the system performed in operation."""
    answered = it.succeeded + it.failed
    return _Finding(
        (
            f"{_many(it.sent, 'call')} sent: {it.succeeded} succeeded, {it.failed} failed, "
            f"{it.unknown} unknown, {it.open_calls} without an outcome yet",
            f"success rate and duration by tool and step, of {_many(answered, 'answered call')}",
        ),
        ("the quality of what the model said or did with the results",),
        nothing=None if it.sent else "no call was sent in this period",
    )


def _policy(it: Totals) -> _Finding:
    """That policies exist and are followed."""
    unproven = it.replay_consistent + it.replay_not_derivable
    lacks = ["that the policies suit the organisation's risks"]
    if not it.replayed:
        lacks.insert(0, "decisions were not derived again from the workflow for this report")
    if unproven:
        lacks.insert(
            0,
            f"for {_many(unproven, 'decision')}, what they rest on: {it.replay_consistent} agree "
            f"with values that only their own record states, {it.replay_not_derivable} cannot be "
            "derived",
        )
    if it.replay_unread:
        lacks.insert(0, f"{_many(it.replay_unread, 'session')} could not be played to the end")
    shows = [
        f"{_many(it.versions, 'workflow or rules text')} enforced on {_many(it.calls, 'request')}; "
        f"{it.denied} refused"
    ]
    if it.replayed:
        shows.append(
            f"{it.replay_rederived} of {_many(it.replayed, 'decision')} derived again from the "
            "records and the recorded texts, with the same result"
        )
    nothing = "no request was decided by a workflow or rules file in this period"
    return _Finding(
        tuple(shows),
        tuple(lacks),
        gap=not it.replayed or bool(unproven or it.replay_unread),
        nothing=None if it.calls and it.versions else nothing,
    )


def _oversight(it: Totals) -> _Finding:
    """Human oversight: who decided, and what was passed over."""
    decided = it.granted + it.rejected + it.bypasses
    lacks = ["that who decided had the competence, the time and the authority to do so"]
    if it.waiting:
        lacks.insert(0, f"the decision on {_many(it.waiting, 'request')} that still waits")
    if it.timed_out:
        lacks.insert(0, f"a person's decision on {_many(it.timed_out, 'request')} that timed out")
    if it.reviews_overdue:
        lacks.insert(0, f"the review of {_many(it.reviews_overdue, 'bypass', 'es')}, overdue")
    nothing = None
    if not decided:
        nothing = "no approval took place in this period"
        nothing += f" ({_many(it.requests, 'request')} for one)" if it.requests else ""
    return _Finding(
        (
            f"{_many(it.requests, 'request')} for a person's decision; {it.granted} granted, "
            f"{it.rejected} rejected, {it.bypasses} bypassed, {it.timed_out} timed out, "
            f"{it.waiting} waiting; each with who, when, roles and what was shown",
            f"{_many(it.edits, 'edit')} and {_many(it.escalations, 'escalation')} recorded",
        ),
        tuple(lacks),
        gap=bool(it.waiting or it.timed_out or it.reviews_overdue),
        nothing=nothing,
    )


def _post_deployment(it: Totals) -> _Finding:
    """Monitoring in operation, with overrides and incidents."""
    measured, handled = _performance(it), _evaluation(it)
    shows = () if measured.nothing is not None else measured.shows[:1]
    return _Finding(
        (*shows, handled.nothing) if handled.nothing is not None else (*shows, *handled.shows),
        (*handled.lacks, "what users and others affected reported"),
        gap=handled.gap,
        nothing=measured.nothing if handled.nothing is not None else None,
    )


def _record_keeping(it: Totals) -> _Finding:
    """Automatic recording of events over the lifetime of the system."""
    logged = _event_log(it)
    return _Finding(
        (*logged.shows, *_span(it)),
        ("events of the AI system that are not tool calls", *logged.lacks),
        gap=logged.gap,
        nothing=logged.nothing,
    )


def _retention(it: Totals) -> _Finding:
    """Keeping logs for at least six months."""
    kept = it.oldest is not None and it.as_of is not None and it.as_of - it.oldest >= _SIX_MONTHS
    lacks = ["that records of this period will be kept from now on", "backups"]
    if it.sessions_pruned:
        lacks.insert(0, f"the contents of {_many(it.sessions_pruned, 'pruned session')}")
    if not kept:
        lacks.insert(0, "retention of at least six months: nothing in this report is that old")
    shows = list(_span(it)) if kept else []
    if it.prunings:
        lacks.insert(0, f"the contents that {_many(it.prunings, 'pruning')} removed")
    return _Finding(tuple(shows), tuple(lacks), gap=True)


def _span(it: Totals) -> Iterator[str]:
    if it.oldest is not None and it.newest is not None:
        yield f"records of {it.oldest:%Y-%m-%d} to {it.newest:%Y-%m-%d} are still there"


def _deployer(it: Totals) -> _Finding:
    """A deployer's duties: assigned oversight, monitoring, logs."""
    decided, kept = _oversight(it), _retention(it)
    shows = decided.shows[:1] if decided.nothing is None else ()
    monitored = () if _monitoring(it).nothing is not None else _monitoring(it).shows
    retained = kept.shows
    return _Finding(
        (*shows, *monitored, *retained),
        (
            *((decided.nothing,) if decided.nothing is not None else ()),
            *kept.lacks[:1],
            "use according to the provider's instructions, and information of the people concerned",
        ),
        gap=True,
        nothing=None if it.calls else "the system was not used in this period",
    )


def _transparency(it: Totals) -> _Finding:
    """What people are told about dealing with an AI: the gateway does not see it."""
    del it
    return _Finding((), ("that people are told that they deal with an AI: it is not recorded",))


def _mcp08(it: Totals) -> _Finding:
    """The fields that OWASP asks an audit log for."""
    partial = [
        f"{name} for {it.calls - count} of {it.calls}"
        for name, count in (
            ("parameters_used", it.calls_with_arguments),
            ("user_identity", it.calls_with_credential),
        )
        if count < it.calls
    ]
    unanswered = it.sent - it.calls_with_answer
    if unanswered:
        partial.append(f"response_summary for {unanswered} of {it.sent}")
    return _Finding(
        (
            f"timestamp, agent_id, session_id and tool_invoked for {it.calls} of {it.calls} "
            f"requests; parameters_used for {it.calls_with_arguments}; response_summary (digest, "
            f"size or error) for {it.calls_with_answer} of {_many(it.sent, 'sent call')}; "
            f"user_identity (principal and credential) for {it.calls_with_credential}",
        ),
        (*partial, "the human behind an agent, where several share one credential"),
        gap=bool(partial),
        nothing=None if it.calls else "no request to use a tool was made in this period",
    )


def _many(number: int, noun: str, ending: str = "s") -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{ending}"


_SOC2, _ISO, _NIST = "SOC 2", "ISO/IEC 42001", "NIST AI RMF"
_ACT, _OWASP = "EU AI Act", "OWASP MCP Top 10"
_CLAUSES: tuple[tuple[str, str, str, Callable[[Totals], _Finding], str], ...] = (
    (_SOC2, "CC6.1", "Logical access to tools", _access, ""),
    (_SOC2, "CC7.2", "Monitoring for anomalies", _monitoring, ""),
    (_SOC2, "CC7.3", "Evaluation of security events", _evaluation, ""),
    (_SOC2, "CC8.1", "Change management", _changes, ""),
    (_ISO, "A.6.2.6", "Operation and monitoring", _performance, ""),
    (_ISO, "A.6.2.8", "Recording of event logs", _event_log, ""),
    (_NIST, "GOVERN 1", "Policies in place and followed", _policy, ""),
    (_NIST, "MEASURE 2", "Performance in operation", _performance, ""),
    (_NIST, "MANAGE 4.1", "Monitoring after deployment", _post_deployment, ""),
    (_ACT, "Art. 12", "Record-keeping", _record_keeping, _HIGH_RISK),
    (_ACT, "Art. 14", "Human oversight", _oversight, _HIGH_RISK),
    (_ACT, "Art. 19", "Logs kept for at least six months", _retention, _HIGH_RISK),
    (_ACT, "Art. 26", "Duties of deployers", _deployer, _HIGH_RISK),
    (_ACT, "Art. 50", "Transparency", _transparency, "applies since 2 August 2026"),
    (_OWASP, "MCP08", "Audit and telemetry", _mcp08, ""),
)
