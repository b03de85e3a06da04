"""How many findings of one check are listed: nobody reads thousands, and they take time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mcpuppet.workflow.findings import TOO_DEEP_OR_BIG, Code, Finding, Place

MOST_FINDINGS = 100


def limited(findings: Iterator[Finding], file: str) -> Iterator[Finding]:
    """The first hundred findings of each code that one check yields, and how many more there are.

    After a hundred errors of one code the check is not even finished: the file is refused, and the
    finding that says so cannot be ignored.
    """
    found: Counter[Code] = Counter()
    for one in findings:
        found[one.code] += 1
        if found[one.code] <= MOST_FINDINGS:
            yield one
        elif one.severity == "error":
            message = f"more than {MOST_FINDINGS} findings {one.code.number}: the first are listed"
            yield Finding(TOO_DEEP_OR_BIG, one.place, message, "correct these first")
            break
    for code, number in found.items():
        if number > MOST_FINDINGS and code.severity != "error":
            message = f"{number - MOST_FINDINGS:,} more like these are not listed"
            yield Finding(code, Place(file, 1, 1), message)
