"""How an event is written down: without secrets, within bounds, and with sensitive values hidden.

Owns what becomes of an event on its way into the session and into its record. Secrets are gone
before the event is folded, for good, and words that are too long are cut: state and record agree on
that. Sensitive values stay in the state, where guards read them, and only the record holds
commitments in their places. Pure but for the random bytes of new commitments.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcpuppet.redaction.commitments import COMMITMENT, FORGERY, SECRET_MARK
from mcpuppet.redaction.secrets import KNOWN_KEYS, Scrubber
from mcpuppet.redaction.vault import CONTENT, WORDS, Vault, redacted_field
from mcpuppet.session import events as e
from mcpuppet.session.call import MAX_SHOWN_BYTES, Call, canonical_json, digest_of
from mcpuppet.session.state import SessionState
from mcpuppet.workflow.compiled import CompiledWorkflow, Rulebook
from mcpuppet.workflow.compiled_policy import CompiledFact
from mcpuppet.workflow.sensitive import ANY, ITEMS, NOTHING, WHOLE, Pointer, Sensitive

MOST_WORDS = 4 * 1024
"""Characters of a reason or a message; the rest is cut."""
MOST_FIELD_BYTES = 64 * 1024
"""Bytes of JSON of one field; of a longer one the record holds a commitment."""
MOST_QUOTED_BYTES = 16 * 1024
"""The same for one value that an entry of a list quotes."""

Places = Mapping[str, tuple[Pointer, ...]]
"""For fields of an event, where in them values are sensitive."""

_NO_ARGUMENTS: Mapping[str, Any] = {}
_CUT = frozenset({"reason", "message"})
_SCRUBBED = CONTENT | WORDS | {"tool", "target"}
_FORGED = (FORGERY, f'"{COMMITMENT}"')
# Events hold JSON, which has no circles.
_encode = json.JSONEncoder(separators=(",", ":"), default=dict, check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event as it happens to the session, its data, and the JSON of that."""

    event: e.Event
    data: dict[str, Any]
    text: str


def _nothing(_tool: str) -> Sensitive:
    return NOTHING


class Recorder:
    """Prepares the events of one session; `vault` knows the values that its records do not show.

    `of_tool` tells what a tool's own schema says of its arguments and results.
    """

    def __init__(
        self,
        vault: Vault | None = None,
        scrubber: Scrubber = KNOWN_KEYS,
        of_tool: Callable[[str], Sensitive] = _nothing,
    ) -> None:
        self.vault = Vault("") if vault is None else vault
        self._scrubber = scrubber
        self._of_tool = of_tool

    def sensitive(self, tool: str, workflow: CompiledWorkflow | None) -> Sensitive:
        """Where calls of a tool have sensitive values, by the workflow and by the tool's schema."""
        known = self._of_tool(tool)
        if workflow is None or tool not in workflow.sensitive:
            return known
        return workflow.sensitive[tool].joined(known)

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        workflow: CompiledWorkflow | None,
        like: Mapping[str, Any] = _NO_ARGUMENTS,
    ) -> Call:
        """A call with its arguments as they will stand in records, which is what digests are of.

        What is hidden of the arguments `like` is hidden at the same places here.
        """
        text = _encode(arguments)
        places = (*self.sensitive(tool, workflow).arguments, *self.vault.places(like))
        content: Any = arguments
        if self._scrubber.suspects(text):
            content = self._scrubber.data(arguments)
            text = _encode(content)
        secret = SECRET_MARK in text
        if places or self.vault or _is_forged(text):
            content = self.vault.value(content, places)
        return Call(tool, arguments, None if content is arguments else content, secret)

    def keeps(self, text: str) -> bool:
        """Whether a text can be recorded as it is, because no secret is in it."""
        return not self._scrubber.suspects(_encode(text)) or self._scrubber.text(text) == text

    def hidden(self, content: Any) -> Any:
        """Content as it stands in records: what digests that are recorded are made of."""
        return self.vault.value(content) if self.vault else content

    def prepared(self, event: e.Event) -> Prepared:
        """The event as it happens to the session: without secrets, and no word too long."""
        data = e.event_data(event)
        text = _encode(data)
        suspect = self._scrubber.suspects(text)
        if not suspect and len(text) <= MOST_WORDS:
            return Prepared(event, data, text)
        changes = dict(self._changes(event, suspect))
        if not changes:
            return Prepared(event, data, text)
        event = dataclasses.replace(event, **changes)
        data = e.event_data(event)
        return Prepared(event, data, _encode(data))

    def _changes(self, event: e.Event, suspect: bool) -> Iterator[tuple[str, Any]]:
        for field in dataclasses.fields(event):
            before = value = getattr(event, field.name)
            if suspect and field.name in _SCRUBBED:
                value = self._scrubber.data(value)
                if field.name == "reconcile" and value != before:
                    value = None  # asked for something else, it would tell of something else
                if field.name == "result" and hasattr(event, "result_digest") and value != before:
                    yield "result_digest", digest_of(value)
            if field.name in _CUT:
                value = _cut(value)
            elif field.name in ("verdicts", "would_have_denied"):
                value = tuple(_cut_entry(one) for one in value)
            elif field.name == "arguments" and isinstance(event, (e.CallStarted, e.CallDenied)):
                size = len(canonical_json(value))
                if size > MAX_SHOWN_BYTES:
                    value = None
                    yield "arguments_bytes", size
            if value is not before:
                yield field.name, value

    def data(self, prepared: Prepared, places: Places) -> dict[str, Any]:
        """The data of the event's record, with sensitive values hidden."""
        data, text = prepared.data, prepared.text
        if not places and not self.vault and len(text) <= MOST_FIELD_BYTES and not _is_forged(text):
            return data
        result = data.get("result")
        # The arguments first: their digest was made when nothing else of the event was known.
        for name in sorted(data, key=lambda one: one != "arguments"):
            if name in CONTENT or name in WORDS:
                data[name] = self._field(name, data[name], places.get(name, ()))
        if isinstance(prepared.event, e.CallDenied) and prepared.event.rule == "unknown_tool":
            data["tool"] = self.vault.text(data["tool"])  # it names nothing: a model made it up
        if "result_digest" in data:
            data["result_digest"] = self._result_digest(data, result, places)
        return data

    def _result_digest(self, data: Mapping[str, Any], result: Any, places: Places) -> str:
        """The digest of a result as the record shows it, which lets nobody guess what it hides.

        Of a result that is not kept, nobody knows what would have been hidden: it has none then.
        """
        if result is None and (places or self.vault):
            return ""
        is_shown = data["result"] == result
        return str(data["result_digest"]) if is_shown else digest_of(data["result"])

    def _field(self, name: str, content: Any, places: tuple[Pointer, ...]) -> Any:
        hidden = redacted_field(self.vault, name, content, places)
        if isinstance(content, str):
            is_long = name not in _CUT and len(content) > MOST_WORDS
            return self.vault.whole_text(content) if is_long else hidden
        if isinstance(hidden, list) and name != "value":
            return [self._entry(one, before) for one, before in zip(hidden, content, strict=True)]
        if content is not None and len(_encode(hidden)) > MOST_FIELD_BYTES:
            return {COMMITMENT: self.vault.commit(content)}
        return hidden

    def _entry(self, hidden: Any, before: Any) -> Any:
        if not isinstance(hidden, dict) or len(_encode(hidden)) <= MOST_QUOTED_BYTES:
            return hidden
        return {
            name: {COMMITMENT: self.vault.commit(before[name])}
            if isinstance(before[name], (Mapping, list, str)) and len(_encode(one)) > MOST_WORDS
            else one
            for name, one in hidden.items()
        }


def sensitive_fields(
    recorder: Recorder,
    event: e.Event,
    state: SessionState | None,
    workflow: CompiledWorkflow | None,
    books: Iterable[Rulebook],
) -> Places:
    """Where in an event sensitive values stand; `state` is the session's before it."""
    match event:
        case e.RunStarted():
            return {} if workflow is None else _only("inputs", workflow.sensitive_inputs)
        case e.InputsDeclared():
            rules = (one for one in books if one.name == event.rules)
            return _only("inputs", next((one.sensitive_inputs for one in rules), ()))
        case e.CallStarted():
            return _of_start(recorder, event, workflow)
        case e.CallDenied() | e.CallDeferred():
            return _only("arguments", recorder.sensitive(event.tool, workflow).arguments)
        case e.AskOpened():
            known = recorder.sensitive(event.tool, workflow).arguments
            return _only("arguments", known) | _only("show", tuple(_shown_places(event, known)))
        case e.ApprovalEdited():
            known = recorder.sensitive(event.tool, workflow).arguments
            before = None if state is None else _shown_arguments(state, event)
            return _only("arguments", (*known, *recorder.vault.places(before)))
        case e.CallSucceeded() | e.CallFailed() | e.LateOutcome() | e.CallReconciled():
            return _only("result", _of_result(recorder, event.call_id, state, workflow))
        case e.StepSucceeded() if workflow is not None:
            tools = workflow.step(event.step).tools
            found = (recorder.sensitive(tool, workflow).results for tool in tools)
            return _only("kept", tuple(one for group in found for one in group))
        case e.FactLearned():
            facts = (one.facts.get(event.fact) for one in books if one.name == event.book)
            return _of_fact(recorder, next(facts, None), workflow)
    return {}


def _only(name: str, pointers: tuple[Pointer, ...]) -> dict[str, tuple[Pointer, ...]]:
    return {name: pointers} if pointers else {}


def _of_start(
    recorder: Recorder, event: e.CallStarted, workflow: CompiledWorkflow | None
) -> dict[str, tuple[Pointer, ...]]:
    known = recorder.sensitive(event.tool, workflow).arguments
    places = _only("arguments", known)
    if event.feeds:
        places |= _only("feeds", tuple((ITEMS, "args", *one) for one in known))
    if event.reconcile is not None:
        asked = recorder.sensitive(str(event.reconcile.get("tool")), workflow).arguments
        places |= _only("reconcile", tuple(("arguments", *one) for one in asked))
    return places


def _of_result(
    recorder: Recorder,
    call_id: str,
    state: SessionState | None,
    workflow: CompiledWorkflow | None,
) -> tuple[Pointer, ...]:
    """Where the result of a call has sensitive values; everywhere, if that cannot be told any more.

    A late answer may be to a call that was settled, or one of a run that is over.
    """
    call = None if state is None else state.calls.get(call_id)
    run = None if state is None else state.run
    if call is not None and (call.run_id is None or (run and run.run_id == call.run_id)):
        return recorder.sensitive(call.tool, workflow).results
    by_tool = () if call is None else recorder.sensitive(call.tool, None).results
    hides = recorder.vault or (workflow is not None and workflow.sensitive)
    return (WHOLE,) if hides else by_tool


def _shown_places(event: e.AskOpened, known: tuple[Pointer, ...]) -> Iterator[Pointer]:
    """Where the values that people are shown first repeat sensitive arguments."""
    for number, one in enumerate(event.show):
        root, *tokens = str(one.get("path")).split(".")
        for pointer in known if root == "args" else ():
            if pointer[: len(tokens)] == tuple(tokens):
                yield str(number), "value", *pointer[len(tokens) :]
            elif tuple(tokens[: len(pointer)]) == pointer:
                yield str(number), "value"


def _shown_arguments(state: SessionState, event: e.ApprovalEdited) -> Mapping[str, Any] | None:
    """The arguments that a person has edited, as they were before."""
    ask = state.asks.get(event.approval_id)
    if ask is not None:
        return ask.arguments
    for approval in () if state.run is None else state.run.approvals.values():
        if approval.approval_id == event.approval_id and event.step is not None:
            shown = approval.shown_for(event.step)
            return None if shown is None else shown.arguments
    return None


def _of_fact(
    recorder: Recorder, fact: CompiledFact | None, workflow: CompiledWorkflow | None
) -> dict[str, tuple[Pointer, ...]]:
    if fact is None or fact.tool is None:
        return {}
    known = recorder.sensitive(fact.tool, workflow).results
    if fact.take is None:
        return _only("value", known)
    path = tuple(ITEMS if one == "[]" else one for one in fact.take)
    return _only("value", tuple(_taken(path, known)))


def _taken(path: tuple[str, ...], known: tuple[Pointer, ...]) -> Iterator[Pointer]:
    """Where sensitive values stand among those that were taken at a path of a result."""
    for pointer in known:
        length = min(len(path), len(pointer))
        if all(_may_be(mine, its) for mine, its in zip(path, pointer, strict=False)):
            yield ITEMS, *pointer[length:]


def _may_be(mine: str, its: str) -> bool:
    return its in (mine, ANY, ITEMS) or mine == ITEMS


def _is_forged(text: str) -> bool:
    return any(one in text for one in _FORGED)


def _cut(text: Any) -> Any:
    if not isinstance(text, str) or len(text) <= MOST_WORDS:
        return text
    note = f"… (cut: it has {len(text):,} characters)"
    return text[: MOST_WORDS - len(note)] + note


def _cut_entry(entry: Any) -> Any:
    if not isinstance(entry, Mapping) or not any(name in entry for name in _CUT):
        return entry
    return {name: _cut(one) if name in _CUT else one for name, one in entry.items()}
