"""The verifier stands alone, says what it has checked, and falls over nothing."""

from __future__ import annotations

import ast
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.exports import (
    COMMITMENT,
    KEY,
    LEAF_0,
    ORIGIN,
    OTHER_KEY,
    SALT,
    SECRET,
    START,
    WORKFLOW,
    WORKFLOW_HASH,
    Log,
    chained,
    encoded,
    pruned,
    signed,
    verified,
    verifier_key,
    with_fields,
    with_line,
)

from mcpuppet.audit import verifier
from mcpuppet.audit.export_lines import (
    checkpoint_line,
    disclosure_line,
    header_line,
    record_line,
    workflow_line,
)
from mcpuppet.audit.notes import SigningKey, join_notes
from mcpuppet.audit.record import GENESIS, Record, leaf_hash, seal
from mcpuppet.audit.verifier import MAX_BREAKS, MAX_LINE, main, read_lines, verify_export

LOG = Log()
GOOD = LOG.export()
SOURCE = Path(verifier.__file__)


def written(path: Path, lines: list[bytes]) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


def test_it_imports_only_the_standard_library_and_cryptography() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported <= sys.stdlib_module_names | {"cryptography"}
    assert "cryptography" in imported


def test_a_copy_of_the_file_runs_by_itself(tmp_path: Path) -> None:
    copy = shutil.copy(SOURCE, tmp_path / "verifier.py")
    export = written(tmp_path / "export.jsonl", GOOD)
    history = tmp_path / "history"
    history.write_text(join_notes([signed(LOG.tree, size) for size in (5, 20)]), "utf-8")
    command = [copy, export, "--key", KEY.verifier_key, "--checkpoint", history]
    # Isolated mode: nothing of this checkout can be imported.
    ran = subprocess.run(
        [sys.executable, "-I", *command], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == (
        "20 of 20 records verified in 2 sessions (0 pruned, 0 under no checkpoint, 0 broken); 2 "
        "kept checkpoints agree; 1 workflow text and 1 disclosed value checked: the export holds"
    )


def test_the_exit_code_tells_good_bad_and_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, key = written(tmp_path / "good", GOOD), KEY.verifier_key
    bad = written(tmp_path / "bad", [*GOOD[:5], *GOOD[6:]])
    assert main([good, "--key", key]) == 0
    assert main([bad, "--key", key]) == 1
    assert "leaf 2: it is missing" in capsys.readouterr().out
    for arguments in (
        [str(tmp_path / "none"), "--key", key],
        [str(tmp_path), "--key", key],
        ["a\x00b"],
        [good, "--key", "nonsense"],
        [good, "--key", key, "--checkpoint", str(tmp_path / "none")],
        [good, "--key", key, "--checkpoint", good],
    ):
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert output.err.count("\n") == 1
        assert not output.out


def test_a_whole_log_is_verified_and_counted() -> None:
    report = verified(GOOD, signed(LOG.tree, 7), signed(LOG.tree, 20))
    assert report.ok
    assert (report.records, report.verified, report.sessions, report.kept) == (20, 20, 2, 2)
    assert (report.workflows, report.disclosures) == (1, 1)
    assert report.checkpoint == verifier.Checkpoint(ORIGIN, 20, LOG.tree.root())
    assert report.signers == (ORIGIN,)


def test_records_after_the_checkpoint_are_told_apart() -> None:
    report = verified(LOG.export(size=12))
    assert report.ok
    assert (report.verified, report.uncovered) == (12, 8)
    assert any("8 records are under no checkpoint" in one for one in report.unproven)
    covered = verified(LOG.export(size=12), signed(LOG.tree, 18))
    assert (covered.verified, covered.uncovered) == (18, 2)


def test_without_a_key_the_report_says_that_nothing_was_signed() -> None:
    report = verified(GOOD, keys=())
    assert report.ok
    assert (report.verified, report.signers) == (20, ())
    assert any("no signature was checked" in one for one in report.unproven)
    assert "signature not verified" in verifier.describe(report)


def test_without_a_kept_checkpoint_the_report_says_what_that_means() -> None:
    assert any("holds the signing key" in one for one in verified(GOOD).unproven)
    kept = verified(GOOD, signed(LOG.tree, 20))
    assert not any("holds the signing key" in one for one in kept.unproven)


def test_any_of_the_given_keys_suffices() -> None:
    others = (verifier_key(SigningKey.create("other")), verifier_key())
    assert verified(GOOD, keys=others).ok


def test_pruned_records_keep_their_place_and_are_counted() -> None:
    lines = pruned(pruned(GOOD, 6), 7)
    report = verified(lines)
    assert report.ok
    assert (report.records, report.verified, report.pruned) == (20, 18, 2)


def test_a_text_or_disclosure_whose_record_was_pruned_is_not_vouched_for() -> None:
    assert [one.what[:30] for one in verified(pruned(GOOD, 0)).breaks] == [
        f"the workflow text {WORKFLOW_HASH[:12]}"
    ]
    (found,) = verified(pruned(GOOD, 4)).breaks
    assert found.session == "a"
    assert "stands in no record" in found.what


def test_a_bundle_shows_one_session() -> None:
    report = verified(LOG.bundle("a"))
    assert report.ok, report.breaks
    assert (report.scope, report.records, report.verified, report.sessions) == (
        "session",
        10,
        10,
        1,
    )
    assert any("not that it has no later ones" in one for one in report.unproven)


def test_a_bundle_may_hold_records_after_its_checkpoint() -> None:
    report = verified(LOG.bundle("b", size=12))
    assert report.ok, report.breaks
    assert (report.verified, report.uncovered) == (6, 4)


@pytest.mark.parametrize(("size", "kept"), [(20, 7), (12, 20), (12, 12), (16, 8)])
def test_a_bundle_agrees_with_a_kept_checkpoint_by_a_proof(size: int, kept: int) -> None:
    lines = LOG.bundle("a", size=size, old=kept)
    report = verified(lines, signed(LOG.tree, kept))
    assert report.ok, report.breaks
    assert report.kept == 1


def test_a_bundle_without_the_proof_does_not_pass_for_compared() -> None:
    (found,) = verified(LOG.bundle("a"), signed(LOG.tree, 7)).breaks
    assert found.what == (
        "the checkpoint kept 1 cannot be compared: the bundle holds no proof from 7 to 20 leaves"
    )


def test_an_export_without_any_checkpoint_is_good_for_nothing_signed() -> None:
    records = [record_line(leaf, one) for leaf, one in enumerate(LOG.records)]
    lines = encoded([header_line(ORIGIN, 20, None), *records, checkpoint_line(None)])
    assert verified(lines, keys=()).ok
    (found,) = verified(lines).breaks
    assert found.what == "it holds no checkpoint, so nothing in it is signed"
    assert verified(lines, signed(LOG.tree, 20)).verified == 20


def test_an_empty_log_can_be_exported() -> None:
    log = Log([])
    lines = encoded([log.header(), checkpoint_line(signed(log.tree, 0))])
    report = verified(lines)
    assert report.ok
    assert report.records == 0


def test_bytes_that_are_not_ascii_are_kept_as_base64() -> None:
    body = b'{"v":1,"session":"\xc3\xbc"}'
    lines = Log([*LOG.records, Record("\u00fc", 1, body, leaf_hash(body))]).export()
    assert b"body64" in lines[-2]
    (found,) = verified(lines).breaks
    assert (found.leaf, found.session) == (20, None)
    assert "written by others" in found.what


def test_unusual_but_right_records_are_verified() -> None:
    odd = "\u00fc \"'\\ \ud800\x7f\n"
    records, prev = [], GENESIS
    for number, kind in enumerate(("A b", "", "\u00fc"), start=1):
        record = seal(odd, number, prev, kind, START, {"text": '\\"\n\u2028', "n": 10**40})
        records.append(record)
        prev = record.hash
    log = Log(LOG.records + records)
    for lines in (log.export(), log.bundle(odd)):
        report = verified(lines)
        assert report.ok, report.breaks
        assert report.verified == report.records
        assert str(report.breaks).isascii()


def test_both_ways_of_reading_say_the_same() -> None:
    for kept in ((), (signed(LOG.tree, 9),)):
        strict = verified(GOOD, *kept, strict=True)
        assert replace(strict, unproven=()) == replace(verified(GOOD, *kept), unproven=())


def test_lines_may_lack_their_line_feeds() -> None:
    assert verified([line.rstrip() for line in GOOD]) == verified(GOOD)


@pytest.mark.parametrize("leaf", [0, 7])
def test_a_records_line_has_one_spelling(leaf: int) -> None:
    line = GOOD[LEAF_0 + leaf]
    for old, new in (
        (b'"leaf":', b'"leaf": '),
        (b'{"leaf":', b' {"leaf":'),
        (b'{"leaf":', b'{"leaf":0'),
        (b'"hash"', b'"has\\u0068"'),
        (b'"body":', b'"body":\t'),
        (b'"body":', b'"proof":null,"body":'),
        (b'"body":', b'"x":1,"body":'),
        (b"}}}\n", b"}}} \n"),
        (b"}}}\n", b"}},}\n"),
        (b"}}}\n", b'}},"x":1}\n'),
    ):
        other = line.replace(old, new)
        assert other != line
        assert not verified([*GOOD[: LEAF_0 + leaf], other, *GOOD[LEAF_0 + leaf + 1 :]]).ok, new


def test_rules_adopted_in_the_middle_of_a_session_name_their_text() -> None:
    text = "rules: later"
    named = hashlib.sha256(text.encode()).hexdigest()
    data = {"hash": named, "workflow": "pay"}
    adopted = seal("b", 11, LOG.records[19].hash, "RulesAdopted", START, data)
    lines = Log([*LOG.records, adopted]).export()
    report = verified([lines[0], *encoded([workflow_line(named, text)]), *lines[1:]])
    assert report.ok, report.breaks
    assert (report.workflows, report.verified) == (2, 21)


def test_raw_bytes_that_are_not_ascii_are_a_break() -> None:
    body = LOG.records[19].body.replace(b'"bank.pay"', b'"b\xe4nk.pay"')
    lines = LOG.with_record(19, body=body, hash=leaf_hash(body)).export()
    lines[-2] = b'{"leaf":19,"hash":"%s","body":%s}\n' % (leaf_hash(body).hex().encode(), body)
    (found,) = verified(lines).breaks
    assert str(found) == "leaf 19, session 'b', record 10: its body is not printable ASCII"


def test_raw_bytes_that_are_no_printable_text_are_a_break_where_all_is_read() -> None:
    body = LOG.records[19].body.replace(b":19}", b":\t19}")
    log = LOG.with_record(19, body=body, hash=leaf_hash(body))
    lines = log.export()
    assert b'"body64":' in lines[-2]
    assert [one.leaf for one in verified(lines).breaks] == [19]
    lines[-2] = b'{"leaf":19,"hash":"%s","body":%s}\n' % (leaf_hash(body).hex().encode(), body)
    (found,) = verified(lines, strict=True).breaks
    assert str(found) == "leaf 19, session 'b', record 10: its body is not printable ASCII"


def test_the_order_of_the_lines_is_demanded() -> None:
    late = [*GOOD[:-1], *encoded([workflow_line(WORKFLOW_HASH, WORKFLOW)]), GOOD[-1]]
    assert "only records and, at the end" in str(verified(late).breaks[0])
    assert "not the header" in str(verified(GOOD[1:]).breaks[0])
    assert str(verified([]).breaks[0]) == "the export is empty"


HOSTILE = [
    b"",
    b"\n",
    b"null\n",
    b"[]\n",
    b"{}\n",
    b"\xff\xfe\n",
    b"\x00" * 100,
    b"[" * 100_000,
    b'{"leaf":' * 50_000,
    b'{"leaf":NaN}',
    b'{"leaf":1e999}',
    b'{"leaf":' + b"9" * 5000 + b"}",
    b'{"leaf":0,"leaf":0}',
    b'{"leaf":true,"session":"a","seq":true,"hash":"","body":null}',
    b'{"leaf":-1,"session":"a","seq":1,"hash":"' + b"0" * 64 + b'","body":null}',
    b'{"leaf":0,"session":null,"seq":1,"hash":"' + b"0" * 64 + b'","body":null}',
    b'{"leaf":0,"session":"a","seq":1,"hash":"' + b"0" * 64 + b'","body64":"!"}',
    b'{"checkpoint":7}',
    b'{"checkpoint":"\\ud800\\n\\n\\u2014 a b\\n"}',
    b'{"workflow":{"hash":"x","text":"\\ud800"}}',
    b'{"disclosure":{"session":"a","commitment":1,"salt":2,"value":3}}',
    b'{"disclosure":[]}',
    b'{"disclosure":{"session":"a","commitment":"%s","salt":"%s","value":%s}}'
    % (b"0" * 64, b"0" * 32, b'{"a":' * 900 + b"0" + b"}" * 900),
    b'{"consistency":{"old":1,"new":2,"proof":[1]}}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("at", [0, 1, LEAF_0 + 3, len(GOOD)])
def test_hostile_lines_are_breaks_and_never_failures(line: bytes, at: int) -> None:
    for lines in (GOOD, LOG.bundle("a")):
        report = verified([*lines[:at], line, *lines[at:]])
        assert not report.ok
        assert verifier.describe(report).isascii()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"a":' * 20_000,
        "",
        "{}",
        "7",
        '{"v":1,"v":1}',
        '{"v":true,"session":"a","seq":1,"prev":"%s","at":"x","kind":"k","data":{}}' % ("0" * 64),
        '{"v":1,"session":"a","seq":1e3,"prev":"%s","at":"x","kind":"k","data":{}}' % ("0" * 64),
        '{"v":1,"session":"a","seq":1,"prev":"%s","at":"x","kind":"k","data":{}}' % ("0" * 64),
    ],
)
def test_hostile_bodies_are_breaks_at_their_record(body: str) -> None:
    digest = leaf_hash(body.encode())
    log = Log([*LOG.records, Record("c", 1, body.encode(), digest)])
    (found,) = verified(log.export()).breaks
    assert (found.leaf, found.session, found.seq) == (20, None, None)


def test_a_line_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write(GOOD[0])
        file.truncate(2 * MAX_LINE)
    with path.open("rb") as file:
        report = verify_export(read_lines(file), [verifier_key()])
    assert f"line 2: it is longer than {MAX_LINE} bytes" in [str(one) for one in report.breaks]


def test_endless_breaks_are_counted_but_not_kept() -> None:
    many = MAX_BREAKS + 500
    lines: Iterator[bytes] = iter([GOOD[0], *[b"{}\n"] * many])
    report = verified(lines)
    assert len(report.breaks) == MAX_BREAKS
    assert report.more_breaks > 500
    assert f"and {report.more_breaks} more" in verifier.describe(report)


def test_names_cannot_reach_a_terminal_as_they_are() -> None:
    lines = with_fields(GOOD, LEAF_0 + 7, session="\x1b[2Jb\u202e")
    text = verifier.describe(verified(lines))
    assert text.isascii()
    assert "\x1b" not in text


def meaning(line: bytes) -> object:
    """What a line says, or something that equals nothing if it says nothing."""
    try:
        return json.loads(line)
    except ValueError:
        return object()


@pytest.mark.parametrize("seed", range(8))
def test_no_random_change_passes_unless_it_changes_nothing(seed: int) -> None:
    chance = random.Random(seed)
    exports = [GOOD, LOG.bundle("a", old=7), pruned(GOOD, 7), LOG.export(size=12)]
    for _ in range(150):
        lines = list(chance.choice(exports))
        at = chance.randrange(len(lines))
        spoilt = bytearray(lines[at])
        for _ in range(chance.choice([1, 1, 2, 5])):
            place = chance.randrange(len(spoilt))
            how = chance.randrange(4)
            if how == 0:
                spoilt[place] ^= 1 << chance.randrange(8)
            elif how == 1:
                spoilt[place] = chance.choice(b'0123456789abcdef"\\{}[],: ')
            elif how == 2:
                del spoilt[place]
            else:
                spoilt.insert(place, chance.choice(b'0"\\{} '))
            spoilt = spoilt or bytearray(b"x")
        changed = [*lines[:at], bytes(spoilt), *lines[at + 1 :]]
        report = verified(changed, signed(LOG.tree, 7))
        verifier.describe(report)
        if report.ok:
            assert meaning(bytes(spoilt)) == meaning(lines[at]), (lines[at], bytes(spoilt))


@pytest.mark.parametrize("seed", range(3))
def test_no_random_order_of_lines_passes(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        lines = list(GOOD)
        how = chance.randrange(3)
        one, other = chance.sample(range(len(lines)), 2)
        if how == 0:
            lines[one], lines[other] = lines[other], lines[one]
        elif how == 1:
            del lines[one]
        else:
            lines.insert(other, lines[one])
        # Where the lines before the records stand among themselves means nothing.
        if sorted(lines[1:LEAF_0]) != sorted(GOOD[1:LEAF_0]) or lines[LEAF_0:] != GOOD[LEAF_0:]:
            lines_left_out = len(lines) == len(GOOD) - 1 and one in (1, 2)
            assert lines_left_out or not verified(lines).ok, (how, one, other)


def test_long_logs_are_verified_across_blocks_of_the_tree() -> None:
    log = Log(chained(f"s{number % 7}" for number in range(1100)))
    kept = [signed(log.tree, size) for size in (0, 1, 255, 256, 257, 512, 1000)]
    lines = [line for line in log.export() if b'"disclosure"' not in line]
    report = verified(lines, *kept)
    assert report.ok, report.breaks
    assert (report.verified, report.kept, report.sessions) == (1100, 7, 7)


def test_the_disclosed_value_is_compared_as_canonical_json() -> None:
    turned = {"owner": SECRET["owner"], "iban": SECRET["iban"]}
    line = disclosure_line("a", COMMITMENT, SALT, turned)
    assert verified(with_line(GOOD, 2, line)).ok


DOCS = Path(__file__).parents[2] / "docs" / "verify.md"


def test_the_verifier_in_the_documentation_tells_good_from_spoilt(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    script = tmp_path / "small.py"
    script.write_text(program, "utf-8")
    swapped = [*GOOD[:4], GOOD[5], GOOD[4], *GOOD[6:]]
    other = Log([*LOG.records[:7], *LOG.records[8:]]).export()
    for lines, said in (
        (GOOD, "20 of 20 records of audit.example.com/gateway were signed: holds"),
        (pruned(GOOD, 7), "holds"),
        (LOG.export(size=12), "12 of 20 records"),
        ([line.replace(b'"amount":7', b'"amount":6') for line in GOOD], "leaf 7 was changed"),
        ([*GOOD[:6], *GOOD[7:]], "before leaf 3 one is missing"),
        (swapped, "before leaf 1 one is missing"),
        ([*GOOD[:-3], GOOD[-1]], "the end was cut off"),
        ([*other[:-1], LOG.export(size=19)[-1]], "before leaf 8 one is missing"),
        (Log(chained("ba" * 10)).export()[:-1] + GOOD[-1:], "other records were signed"),
        (LOG.export(key=OTHER_KEY), "not signed by this key"),
        (with_line(GOOD, len(GOOD) - 1, checkpoint_line(forged_note())), "InvalidSignature"),
    ):
        command = [sys.executable, "-I", script, written(tmp_path / "export", lines)]
        ran = subprocess.run(
            [*command, KEY.verifier_key], capture_output=True, text=True, timeout=60, check=False
        )
        assert said in ran.stdout + ran.stderr
        assert (ran.returncode == 0) == ("records of" in ran.stdout)


def forged_note() -> str:
    return signed(LOG.tree, 20).replace("\n20\n", "\n19\n")
