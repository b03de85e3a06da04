"""Files written to do harm: refused with a place, soon, and in little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpuppet.errors import InvalidInputError
from mcpuppet.library import check_files
from mcpuppet.workflow.source import IncludeError
from mcpuppet.workflow.yaml_reader import MAX_BYTES
from mcpuppet.workflow_folder import folder_reader

HEAD = "mcpuppet: 1\nworkflow: w\nversion: 1.0.0\n"
STEPS = "steps:\n  a: {tool: s.a}\n"
RULES = "mcpuppet: 1\nrules: r\nversion: 1.0.0\n"
MAX_SECONDS = 1.0
MAX_MEGABYTES = 200
_PLACED = re.compile(r"evil\.yaml:[1-9]\d*:[1-9]\d*: WF\d{3} (error|warning) ")

_MEASURE = """
import json, os, resource, sys
from pathlib import Path
from mcpuppet.library import check_files

def peak():  # ru_maxrss starts with that of the process that started this one
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10

def measure(file):
    memory, before = peak(), resource.getrusage(resource.RUSAGE_SELF)
    found = [one for file in check_files([file]) for one in file.findings]
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "name": file.parent.name,
        "seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "megabytes": peak() - memory,
        "count": len(found),
        "findings": [str(one).splitlines()[0] for one in found[:200]],
    }), flush=True)

warm, *files = map(Path, sys.argv[1:])
check_files([warm])
for file in files:
    child = os.fork()
    if not child:
        measure(file)
        os._exit(0)
    os.waitpid(child, 0)
"""


def _many(line: str, count: int) -> str:
    return "".join(line.format(number) for number in range(count))


def _alias_bomb() -> str:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


WHEN = HEAD + "steps:\n  a:\n    tool: s.a\n    when: "
BIG = {
    "brackets": "[" * 100_000,
    "balanced-brackets": "[" * 100_000 + "]" * 100_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "question-marks": "? " * 100_000,
    "nested-maps": "".join(f"{' ' * n}k:\n" for n in range(1_500)),
    "aliases": _alias_bomb(),
    "anchors": HEAD + _many("k{0}: &a{0} 1\n", 200_000),
    "ten-megabytes": HEAD + "title: " + "x" * 10_000_000,
    "one-scalar": HEAD + "title: " + "x" * (MAX_BYTES - 100),
    "one-quoted-scalar": HEAD + 'title: "' + "\\n" * (MAX_BYTES // 2 - 100) + '"\n',
    "one-folded-scalar": HEAD + "title: >\n" + "  x\n" * (MAX_BYTES // 4 - 100),
    "one-key": HEAD + "x" * (MAX_BYTES - 100) + ": 1\n",
    "one-quoted-key": HEAD + '? "' + "x" * (MAX_BYTES - 100) + '"\n: 1\n',
    "one-long-tool": HEAD + "steps:\n  a: {tool: " + "x" * (MAX_BYTES - 100) + "}\n",
    "one-long-expression": WHEN + "1 + " * (MAX_BYTES // 4 - 100) + "1\n",
    "nested-expression": WHEN + "(" * (MAX_BYTES - 100) + "\n",
    "one-long-duration": HEAD + "timeout: " + "9" * (MAX_BYTES - 100) + "s\n" + STEPS,
    "long-integer": HEAD + "timeout: " + "9" * (MAX_BYTES - 100) + "\n" + STEPS,
    "newlines": "\n" * MAX_BYTES,
    "carriage-returns": "\r" * MAX_BYTES,
    "tabs": "\t" * MAX_BYTES,
    "comments": "#\n" * (MAX_BYTES // 2),
    "documents": "---\n" * (MAX_BYTES // 4),
    "nul-bytes": "\0" * MAX_BYTES,
    "byte-order-marks": "\ufeff" * (MAX_BYTES // 3),
    "unknown-keys": HEAD + _many("k{0}: 1\n", 200_000),
    "most-unknown-keys": HEAD + _many("k{0}: 1\n", 24_000),
    "unknown-keys-that-look-alike": HEAD + _many("step{0:0>60}: 1\n", 24_000) + STEPS,
    "unknown-keys-in-steps": HEAD + "steps:\n" + _many("  s{0}: {{tol: s.a}}\n", 12_000),
    "duplicate-keys": HEAD + "a: 1\n" * 300_000,
    "empty-values": HEAD + "roles: [" + "," * 300_000 + "]\n",
    "wrong-roles": HEAD + "roles: [" + _many("R{0},", 49_000) + "]\n" + STEPS,
    "empty-steps": HEAD + "steps:\n" + _many("  s{0}: {{}}\n", 5_000),
    "unknown-events": HEAD
    + STEPS
    + "policies:\n"
    + _many("  - {{id: p{0}, call: a, requires: x{0}.success}}\n", 3_000),
    "bad-durations": HEAD + "steps:\n" + _many("  s{0}: {{tool: s.a, timeout: x}}\n", 8_000),
    "bad-expressions": HEAD + "steps:\n" + _many("  s{0}: {{tool: s.a, when: '('}}\n", 8_000),
    "bad-schemas": HEAD + STEPS + "inputs:\n" + _many("  i{0}: {{type: x}}\n", 800),
    "one-big-schema": HEAD + STEPS + "inputs: {i: {enum: [" + _many("{0},", 40_000) + "]}}\n",
    "many-uses": HEAD + "use: [" + _many("u{0}.yaml,", 40_000) + "]\n" + STEPS,
    "same-use": HEAD + "use: [" + "shared.yaml," * 40_000 + "]\n" + STEPS,
    "one-long-use": HEAD + "use: " + "x/" * (MAX_BYTES // 2 - 100) + "y.yaml\n" + STEPS,
    "many-fact-files": RULES
    + "facts:\n"
    + _many("  f{0}: {{from_file: f{0}.csv, column: x}}\n", 5_000),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_big_hostile_files_are_refused_soon_and_in_little_memory(tmp_path: Path) -> None:
    warm = tmp_path / "warm.yaml"
    warm.write_text(HEAD + STEPS)
    files = []
    for name, text in BIG.items():
        files.append(tmp_path / name / "evil.yaml")
        files[-1].parent.mkdir()
        files[-1].write_text(text, encoding="utf-8", newline="")
    (tmp_path / "same-use" / "shared.yaml").write_text("mcpuppet: 1\nshared: s\n")
    ran = subprocess.run(
        [sys.executable, "-c", _MEASURE, warm, *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    measured = {one["name"]: one for one in map(json.loads, ran.stdout.splitlines())}
    assert measured.keys() == BIG.keys(), ran.stderr[-2_000:]
    assert {name: problem for name, one in measured.items() if (problem := _problem(one))} == {}


def _problem(measured: dict[str, Any]) -> str | None:
    """What is not as it should be with the check of one file."""
    if measured["seconds"] > MAX_SECONDS:
        return f"{measured['seconds']:.2f} s for {measured['count']} findings"
    if measured["megabytes"] > MAX_MEGABYTES:
        return f"{measured['megabytes']:.0f} MB"
    if not any(" error " in one for one in measured["findings"]):
        return "no error"
    unplaced = [one for one in measured["findings"] if _PLACED.search(one) is None]
    if unplaced or any(len(one) > 2_000 for one in measured["findings"]):
        return f"{unplaced}, or a line that is too long"
    return None


def findings_of(tmp_path: Path, content: bytes | str) -> list[str]:
    """`CODE line:column` of everything found in a file."""
    file = tmp_path / "evil.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (checked,) = check_files([file])
    assert all(one.place.file == str(file) for one in checked.findings)
    return [f"{one.code.number} {one.place.line}:{one.place.column}" for one in checked.findings]


GOOD = HEAD + STEPS


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "WF105 1:1"),
        (b"\xef\xbb\xbf", "WF105 1:1"),
        (GOOD.encode("utf-16"), "WF101 1:1"),
        (GOOD.encode("utf-16-le"), "WF101 1:2"),
        (GOOD.encode("utf-32"), "WF101 1:1"),
        (GOOD.encode() + b"\xff", "WF101 6:1"),
        (GOOD.replace("\n", "\r").encode() + b"\xff", "WF101 6:1"),
        (GOOD.encode() + b"\xc3", "WF101 6:1"),
        (GOOD.encode() + b"\xed\xa0\x80", "WF101 6:1"),
        (GOOD + "title: a\0b\n", "WF101 6:9"),
        ((GOOD + "title: a\0b\n").replace("\n", "\r"), "WF101 6:9"),
        (GOOD + "title: \x07\n", "WF101 6:8"),
        (GOOD + "a: 1\na: 2\n", "WF102 7:1"),
        (GOOD + 'a: 1\n"a": 2\n', "WF102 7:1"),
        (GOOD + "workflow: other\n", "WF102 6:1"),
        (GOOD + "'workflow': other\n", "WF102 6:1"),
        (GOOD + "rules: r\n", "WF103 6:1"),
        (GOOD + "shared: s\n", "WF103 6:1"),
        (GOOD + "on: 1\n", "WF103 6:1"),
        (GOOD + "no: 1\n", "WF103 6:1"),
        (GOOD + "010: 1\n", "WF103 6:1"),
        (GOOD + "2026-01-01: 1\n", "WF103 6:1"),
        (GOOD + ".inf: 1\n", "WF103 6:1"),
        (GOOD + "null: 1\n", "WF103 6:1"),
        (GOOD + ": 1\n", "WF101 6:1"),
        (GOOD + "title: .inf\n", "WF101 6:8"),
        (GOOD + "title: -.INF\n", "WF101 6:8"),
        (GOOD + "title: .nan\n", "WF101 6:8"),
        (GOOD + "title: 1e999\n", "WF101 6:8"),
        (GOOD + "title: -1e999\n", "WF101 6:8"),
        (GOOD + "title: 0x1F\n", "WF104 6:8"),
        (GOOD + "title: 010\n", "WF104 6:8"),
        (GOOD + "title: " + "9" * 40 + "\n", "WF104 6:8"),
        (GOOD + "roles: [1_000]\n", "WF104 6:9"),
        (GOOD + "roles: [2026-01-01]\n", "WF104 6:9"),
        (GOOD + "mode: on\n", "WF104 6:7"),
        (GOOD + "title: null\nmode: ~\n", "WF104 7:7"),
        (GOOD + 'title: "\\ud800"\n', "WF101 6:11"),
        (GOOD + 'title: "\\udfff"\n', "WF101 6:11"),
        (GOOD + "\ttitle: x\n", "WF101 6:1"),
        (GOOD + "tools:\n\talways: []\n", "WF101 7:1"),
        (GOOD + "<<: {title: x}\n", "WF103 6:1"),
        (GOOD + "<<: *x\n", "WF106 6:5"),
        (GOOD + "title: !!python/object:os.system x\n", "WF106 6:8"),
        (GOOD + "title: !!python/object/apply:os.system [x]\n", "WF106 6:8"),
        (GOOD + "!!str title: x\n", "WF106 6:1"),
        (GOOD + "? [a, b]\n: 1\n", "WF101 6:3"),
        (GOOD + "? {a: b}\n: 1\n", "WF101 6:3"),
        (GOOD + "---\n" + GOOD, "WF101 6:1"),
        (GOOD + "...\n" + GOOD, "WF101 7:1"),
        ("%YAML 9.9\n---\n" + GOOD, "WF101 1:1"),
        ("%TAG ! tag:x,2000:\n---\n!x " + GOOD, "WF106 3:1"),
        (GOOD + "title: " + "x" * 300 + ": y\n", "WF101 6:308"),
        ("5", "WF104 1:1"),
        ("[]", "WF104 1:1"),
        ("~", "WF105 1:1"),
        ("'", "WF101 1:2"),
        ("{}", "WF105 1:1"),
    ],
)
def test_a_small_hostile_file_is_refused_where_the_mistake_is(
    content: bytes | str, expected: str, tmp_path: Path
) -> None:
    assert expected in findings_of(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r"),
        GOOD.replace("\n", "\r\n"),
        GOOD + "title: on\n",
        GOOD + "title: 1_000\n",
        GOOD + "title: 2026-01-01\n",
        GOOD + "# " + "x" * 100_000,
        "---\n" + GOOD + "...\n",
    ],
)
def test_unusual_files_that_are_fine_are_read(content: bytes | str, tmp_path: Path) -> None:
    assert findings_of(tmp_path, content) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml"):
        with pytest.raises(InvalidInputError, match=r"pipe\.yaml is not an ordinary file"):
            check_files([path])
    with pytest.raises(IncludeError, match="not an ordinary file"):
        folder_reader(tmp_path)("pipe.yaml")


def test_a_folder_with_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(InvalidInputError, match=r"cannot read .*x\.yaml|not an ordinary file"):
        check_files([tmp_path])
    with pytest.raises(InvalidInputError, match="holds no workflow"):
        check_files([tmp_path / "x.yaml"])


def test_a_file_that_has_vanished_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidInputError, match=r"cannot read .*x\.yaml: No such file"):
        check_files([tmp_path])
    with pytest.raises(InvalidInputError, match="does not exist"):
        check_files([tmp_path / "x.yaml"])


def test_a_path_that_no_system_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        check_files([tmp_path / ("x" * 5_000)])
    with pytest.raises(InvalidInputError):
        check_files([tmp_path / "a\0b.yaml"])
