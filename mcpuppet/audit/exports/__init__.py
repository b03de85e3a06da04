"""The audit trail in the forms that other systems take in: OCSF, CEF, CloudEvents, AAT, CSV.

Each format is a function of one `Entry`. None of these forms can be verified: for that there is the
export that `audit.export_lines` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from mcpuppet.audit.exports.aat import aat_lines
from mcpuppet.audit.exports.cef import cef_lines
from mcpuppet.audit.exports.cloudevents import cloudevents_lines
from mcpuppet.audit.exports.entry import Entry, entries
from mcpuppet.audit.exports.ocsf import ocsf_lines
from mcpuppet.audit.exports.table import csv_lines

__all__ = ["FORMATS", "Entry", "Lines", "entries"]

Lines = Callable[[Iterable[Entry]], Iterator[str]]
"""Writes entries, in their order, as lines without line breaks at their ends."""

FORMATS: Mapping[str, Lines] = {
    "csv": csv_lines,
    "ocsf": ocsf_lines,
    "cef": cef_lines,
    "cloudevents": cloudevents_lines,
    "aat": aat_lines,
}
