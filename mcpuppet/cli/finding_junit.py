"""Findings as JUnit XML, for build servers: a suite for each file, a case for each finding.

There is no standard; this is the part that build servers agree on. Of a case with two failures
some show only the first, so that each finding is a case of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as Xml

from mcpuppet.cli.text import plain
from mcpuppet.workflow.findings import Finding, Severity


def junit(findings: Mapping[str, Sequence[Finding]], failing: frozenset[Severity]) -> str:
    """The XML document. `findings` has an entry for every file; only `failing` ones fail."""
    root = Xml.Element("testsuites", name="mcpuppet validate")
    for file, found in findings.items():
        failures = sum(one.severity in failing for one in found)
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=_text(file),
            tests=str(max(1, len(found))),
            failures=str(failures),
            errors="0",
        )
        if not found:
            Xml.SubElement(suite, "testcase", name="no findings", classname=_text(file))
        for one in found:
            _case(suite, one, fails=one.severity in failing)
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(root, encoding="unicode")}'


def _case(suite: Xml.Element, finding: Finding, *, fails: bool) -> None:
    name = f"{finding.code.number} {finding.code.slug} {finding.place.line}:{finding.place.column}"
    case = Xml.SubElement(suite, "testcase", name=name, classname=_text(finding.place.file))
    place = f"{finding.place}: {finding.message}"
    said = "\n".join(_text(one) for one in (place, finding.help or "", *finding.trace) if one)
    if fails:
        message = _text(finding.message)
        Xml.SubElement(case, "failure", type=finding.code.number, message=message).text = said
    else:
        Xml.SubElement(case, "system-out").text = said


def _text(text: str) -> str:
    """The text with what XML 1.0 cannot carry, or nobody sees, spelled out."""
    return plain(text).plain
