"""Every way to spoil an export that we can think of is found, and named where it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

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
    pruned,
    signed,
    verified,
    with_body,
    with_fields,
    with_line,
)

from mcpuppet.audit.export_lines import (
    checkpoint_line,
    disclosure_line,
    proven_line,
    workflow_line,
)
from mcpuppet.audit.notes import SigningKey, checkpoint_text, sign_note
from mcpuppet.audit.record import Record, leaf_hash, seal
from mcpuppet.audit.verifier import Break, commitment_of

LOG = Log()
GOOD = LOG.export()
BUNDLE = LOG.bundle("a")
LINE_OF_7 = LEAF_0 + 7
"""Leaf 7 is record 4 of session b."""


@dataclass(frozen=True)
class Spoilt:
    """What has become of an export, what is kept elsewhere, and the break that must be named."""

    lines: list[bytes]
    found: Break
    kept: tuple[str, ...] = ()


def at_7(what: str) -> Break:
    return Break(7, "b", 4, what)


def body_of(leaf: int) -> str:
    return LOG.records[leaf].body.decode()


def rebuilt(records: list[Record], key: SigningKey = KEY) -> list[bytes]:
    """The export that someone writes who holds no key: all is new but the checkpoint."""
    lines = Log(records).export(key=key)
    return [*lines[:-1], GOOD[-1]] if key == KEY else lines


def resealed(leaf: int, amount: int) -> list[Record]:
    """The log in which a record says something else, and its session was chained anew."""
    records = list(LOG.records)
    session, prev = records[leaf].session_id, None
    for number in range(leaf, len(records)):
        old = records[number]
        if old.session_id != session:
            continue
        fields = json.loads(old.body)
        data = fields["data"] | {"amount": amount} if number == leaf else fields["data"]
        before = bytes.fromhex(fields["prev"]) if prev is None else prev
        at = START + timedelta(seconds=number)
        records[number] = seal(session, old.seq, before, fields["kind"], at, data)
        prev = records[number].hash
    return records


FOREIGN = "its body is not spelt as records are sealed: it was written by others"
MORE = "its body does not end with the end of `data`"
CHANGED = "its bytes do not give the hash stated with it: it was changed"
OTHER_ROOT = (
    "the checkpoint of the export was signed over other records: leaves 0 to 19 are not all as "
    "they were"
)


def flipped_body() -> Spoilt:
    return Spoilt(
        with_body(GOOD, LINE_OF_7, body_of(7).replace('"amount":7', '"amount":6')), at_7(CHANGED)
    )


def flipped_hash() -> Spoilt:
    stated = LOG.records[7].hash.hex()
    other = ("1" if stated[0] == "0" else "0") + stated[1:]
    return Spoilt(with_fields(GOOD, LINE_OF_7, hash=other), at_7(CHANGED))


def flipped_body_and_hash() -> Spoilt:
    body = body_of(7).replace('"amount":7', '"amount":6')
    lines = with_body(GOOD, LINE_OF_7, body, hash=leaf_hash(body.encode()).hex())
    return Spoilt(
        lines,
        Break(
            9,
            "b",
            5,
            "it was not sealed onto record 4 as it stands here: one of the two was changed",
        ),
    )


def dropped_record() -> Spoilt:
    return Spoilt(
        [*GOOD[:LINE_OF_7], *GOOD[LINE_OF_7 + 1 :]], Break(7, None, None, "it is missing")
    )


def dropped_and_renumbered() -> Spoilt:
    records = [*LOG.records[:7], *LOG.records[8:]]
    return Spoilt(rebuilt(records), Break(None, "b", 4, "it is missing"))


def swapped_records() -> Spoilt:
    lines = list(GOOD)
    lines[LINE_OF_7], lines[LINE_OF_7 + 1] = lines[LINE_OF_7 + 1], lines[LINE_OF_7]
    return Spoilt(lines, at_7("it stands after leaf 8: it was moved, or is here twice"))


def inserted_record() -> Spoilt:
    forged = seal("b", 4, LOG.records[5].hash, "CallAllowed", START, {"amount": 1})
    records = [*LOG.records[:7], forged, *LOG.records[7:]]
    return Spoilt(rebuilt(records), Break(8, "b", 4, "it stands after record 4 of its session"))


def retyped_value() -> Spoilt:
    return Spoilt(
        with_body(GOOD, LINE_OF_7, body_of(7).replace('"amount":7', '"amount":"7"')), at_7(CHANGED)
    )


def retyped_sequence() -> Spoilt:
    body = body_of(7).replace('"seq":4', '"seq":"4"')
    lines = with_body(GOOD, LINE_OF_7, body, hash=leaf_hash(body.encode()).hex())
    return Spoilt(lines, Break(7, None, None, FOREIGN))


def cut_tail() -> Spoilt:
    lines = [*GOOD[: LEAF_0 + 17], GOOD[-1]]
    return Spoilt(
        lines,
        Break(17, None, None, "it is missing, and so is all up to leaf 19: it was cut off"),
    )


def cut_tail_with_older_checkpoint() -> Spoilt:
    log = Log(LOG.records[:17])
    return Spoilt(
        log.export(),
        Break(
            17,
            None,
            None,
            "the checkpoint kept 1 covers 20 leaves, and from this one on they are missing: the "
            "end was cut off",
        ),
        (signed(LOG.tree, 20),),
    )


def cut_head() -> Spoilt:
    lines = [*GOOD[:LEAF_0], *GOOD[LEAF_0 + 2 :]]
    return Spoilt(lines, Break(0, None, None, "it is missing, and so is all up to leaf 1"))


def cut_head_of_a_bundle() -> Spoilt:
    return Spoilt(
        [*BUNDLE[:3], *BUNDLE[5:]],
        Break(None, "a", 1, "it is missing, and so is all up to record 2"),
    )


def chained_anew_without_the_key() -> Spoilt:
    forged = Log(resealed(7, 6))
    return Spoilt(rebuilt(forged.records), exchanged(20, LOG.tree.root(), forged.tree.root()))


def chained_anew_with_the_header_left() -> Spoilt:
    lines = [GOOD[0], *rebuilt(resealed(7, 6))[1:]]
    return Spoilt(lines, Break(None, None, None, OTHER_ROOT))


def chained_anew_with_the_key() -> Spoilt:
    return Spoilt(
        Log(resealed(7, 6)).export(),
        Break(
            None,
            None,
            None,
            "the checkpoint kept 2 was signed over other records: leaves 5 to 9 are not all as "
            "they were",
        ),
        (signed(LOG.tree, 5), signed(LOG.tree, 10)),
    )


def filed_under_another_session() -> Spoilt:
    body = body_of(7).replace('"session":"b","seq":4', '"session":"a","seq":5')
    return Spoilt(with_body(GOOD, LINE_OF_7, body), Break(7, "a", 5, CHANGED))


def moved_to_another_session() -> Spoilt:
    body = body_of(7).replace('"session":"b","seq":4', '"session":"a","seq":5')
    return Spoilt(
        with_body(GOOD, LINE_OF_7, body, hash=leaf_hash(body.encode()).hex()),
        Break(
            7,
            "a",
            5,
            "it was not sealed onto record 4 as it stands here: one of the two was changed",
        ),
    )


def renumbered_record() -> Spoilt:
    body = body_of(7).replace('"seq":4', '"seq":5')
    return Spoilt(with_body(GOOD, LINE_OF_7, body), Break(7, "b", 5, CHANGED))


def exchanged(size: int, root: bytes, announced: bytes) -> Break:
    what = (
        f"the checkpoint of the export has {size} leaves and the root {root.hex()}, the header "
        f"announces 20 leaves and the root {announced.hex()}: one of the two was exchanged"
    )
    return Break(None, None, None, what)


def replayed_checkpoint() -> Spoilt:
    lines = with_line(GOOD, len(GOOD) - 1, checkpoint_line(signed(LOG.tree, 10)))
    return Spoilt(lines, exchanged(10, LOG.tree.root(10), LOG.tree.root()))


def replayed_checkpoint_over_a_changed_end() -> Spoilt:
    return Spoilt(
        Log(resealed(13, 6)).export(size=10),
        Break(
            None,
            None,
            None,
            "the checkpoint kept 1 was signed over other records: leaves 10 to 19 are not all as "
            "they were",
        ),
        (signed(LOG.tree, 20),),
    )


def not_a_checkpoint(what: str) -> Break:
    return Break(None, None, None, f"the checkpoint of the export: {what}")


def forged_key() -> Spoilt:
    what = f"no given key signed it; the signatures are of '{ORIGIN}' ({OTHER_KEY.key_id.hex()})"
    return Spoilt(rebuilt(LOG.records, OTHER_KEY), not_a_checkpoint(what))


def with_note(note: str) -> list[bytes]:
    return with_line(GOOD, len(GOOD) - 1, checkpoint_line(note))


NOTE = signed(LOG.tree, 20)
CUT_NOTE = "the note does not end with a blank line and signatures: it was cut"
FORGED = f"the signature of the key '{ORIGIN}' is forged or spoilt"


def signature_under_anothers_id() -> Spoilt:
    class Impostor:
        name, key_id, sign = ORIGIN, KEY.key_id, OTHER_KEY.sign

    note = sign_note(checkpoint_text(ORIGIN, 20, LOG.tree.root()), Impostor())
    return Spoilt(with_note(note), not_a_checkpoint(FORGED))


def stripped_signature() -> Spoilt:
    return Spoilt(with_note(NOTE[: NOTE.index("\u2014")]), not_a_checkpoint(CUT_NOTE))


def stripped_signature_and_blank_line() -> Spoilt:
    return Spoilt(with_note(NOTE[: NOTE.index("\n\n") + 1]), not_a_checkpoint(CUT_NOTE))


def two_signatures_one_bad() -> Spoilt:
    other = signed(LOG.tree, 10)
    return Spoilt(with_note(NOTE + other[other.index("\u2014") :]), not_a_checkpoint(FORGED))


def changed_origin() -> Spoilt:
    return Spoilt(with_note(NOTE.replace("gateway\n", "gateway2\n", 1)), not_a_checkpoint(FORGED))


def changed_origin_of_the_header() -> Spoilt:
    return Spoilt(
        with_fields(GOOD, 0, origin="other.example.com"),
        Break(
            None,
            None,
            None,
            f"the checkpoint of the export is of the log '{ORIGIN}', and the export is of "
            "'other.example.com'",
        ),
    )


def changed_size() -> Spoilt:
    return Spoilt(with_note(NOTE.replace("\n20\n", "\n19\n")), not_a_checkpoint(FORGED))


def changed_root() -> Spoilt:
    root = NOTE.split("\n")[2]
    other = ("A" if root[0] != "A" else "B") + root[1:]
    return Spoilt(with_note(NOTE.replace(root, other)), not_a_checkpoint(FORGED))


def changed_size_of_the_header() -> Spoilt:
    return Spoilt(
        with_fields(GOOD, 0, size=19),
        Break(None, None, None, "the header announces 19 leaves, but there are 20"),
    )


def duplicated_leaf() -> Spoilt:
    lines = [*GOOD[: LINE_OF_7 + 1], *GOOD[LINE_OF_7:]]
    return Spoilt(lines, at_7("it stands after leaf 7: it was moved, or is here twice"))


NO_PROOF = "its proof does not lead from this leaf to the root of the checkpoint"


def proof_of_another_leaf() -> Spoilt:
    other = [one.hex() for one in LOG.tree.inclusion(7, 20)]
    return Spoilt(with_fields(BUNDLE, 6, proof=other), Break(6, "a", 4, NO_PROOF))


def leaf_at_another_place() -> Spoilt:
    return Spoilt(with_fields(BUNDLE, 6, leaf=7), Break(7, "a", 4, NO_PROOF))


def left_out_proof() -> Spoilt:
    return Spoilt(
        with_fields(BUNDLE, 6, proof=None),
        Break(6, "a", 4, "it is under the checkpoint, but its proof is left out"),
    )


def record_of_another_session_in_a_bundle() -> Spoilt:
    other, proof = LOG.records[7], LOG.tree.inclusion(7, 20)
    line = proven_line(7, "b", 4, other.hash, other.body, proof)
    return Spoilt(
        with_line(BUNDLE, 6, line), Break(7, "b", 4, "the export is of session 'a' alone")
    )


def truncated_last_line() -> Spoilt:
    return Spoilt(
        [*GOOD[:-1], GOOD[-1][:60]],
        Break(None, None, None, "it ends without the line of its checkpoint: it was cut off"),
    )


def changed_workflow() -> Spoilt:
    text = WORKFLOW.replace("pay", "pax")
    return Spoilt(
        with_line(GOOD, 1, workflow_line(WORKFLOW_HASH, text)),
        Break(
            None,
            None,
            None,
            f"line 2: the workflow text '{WORKFLOW_HASH[:12]}' was changed: it has the hash "
            "9f99f72ad1d5",
        ),
    )


def exchanged_workflow() -> Spoilt:
    # The SHA-256 of an empty text.
    other = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    return Spoilt(
        with_line(GOOD, 1, workflow_line(other, "")),
        Break(
            None,
            None,
            None,
            "the workflow text e3b0c44298fc is named by no record of this export: it is not what "
            "was run",
        ),
    )


def forged_disclosure() -> Spoilt:
    value = SECRET | {"iban": "DE00 9999"}
    return Spoilt(
        with_line(GOOD, 2, disclosure_line("a", COMMITMENT, SALT, value)),
        Break(
            None,
            None,
            None,
            f"line 3: the disclosed value does not give the commitment {COMMITMENT.hex()[:12]} of "
            "session 'a': it was forged",
        ),
    )


def exchanged_disclosure() -> Spoilt:
    other = commitment_of(SALT, "x")
    return Spoilt(
        with_line(GOOD, 2, disclosure_line("a", other, SALT, "x")),
        Break(
            None,
            "a",
            None,
            f"the disclosed value with the commitment {other.hex()[:12]} stands in no record of "
            "this session",
        ),
    )


def disclosure_for_another_session() -> Spoilt:
    return Spoilt(
        with_line(GOOD, 2, disclosure_line("b", COMMITMENT, SALT, SECRET)),
        Break(
            None,
            "b",
            None,
            f"the disclosed value with the commitment {COMMITMENT.hex()[:12]} stands in no record "
            "of this session",
        ),
    )


def pruned_body_put_back_changed() -> Spoilt:
    lines = pruned(GOOD, 7)
    assert verified(lines).ok
    body = body_of(7).replace('"amount":7', '"amount":6')
    lines[LINE_OF_7] = with_body(GOOD, LINE_OF_7, body)[LINE_OF_7]
    return Spoilt(lines, at_7(CHANGED))


def pruned_hash_changed() -> Spoilt:
    lines = with_fields(pruned(GOOD, 7), LINE_OF_7, hash="ab" * 32)
    return Spoilt(
        lines,
        Break(
            9,
            "b",
            5,
            "it was not sealed onto record 4 as it stands here: one of the two was changed",
        ),
    )


def reordered_sessions() -> Spoilt:
    records = sorted(LOG.records, key=lambda record: record.session_id)
    lines = [GOOD[0], *rebuilt(records)[1:]]
    return Spoilt(lines, Break(None, None, None, OTHER_ROOT))


def respelt_body(change: Callable[[str], str]) -> list[bytes]:
    """An export by someone with the key whose record 10 of session b is spelt in another way."""
    body = change(body_of(19)).encode()
    log = LOG.with_record(19, body=body, hash=leaf_hash(body))
    return log.export()


def spaced_body() -> Spoilt:
    return Spoilt(
        respelt_body(lambda body: body.replace(',"seq"', ', "seq"')), Break(19, None, None, FOREIGN)
    )


def escaped_body() -> Spoilt:
    return Spoilt(
        respelt_body(lambda body: body.replace('"session":"b"', '"session":"\\u0062"')),
        Break(19, None, None, FOREIGN),
    )


def body_with_data_twice() -> Spoilt:
    return Spoilt(
        respelt_body(lambda body: body[:-1] + ',"data":{"amount":6}}'), Break(19, "b", 10, MORE)
    )


def body_with_data_twice_and_hidden() -> Spoilt:
    return Spoilt(
        respelt_body(lambda body: body[:-1] + ' ,  "d\\u0061ta":{"amount":6}}'),
        Break(19, "b", 10, MORE),
    )


def body_that_ends_before_its_line() -> Spoilt:
    """Readers of the whole line as JSON would take the second body for the record's."""
    return Spoilt(
        respelt_body(lambda body: f'{body},"body":{body.replace("19}", "20}")}'),
        Break(19, "b", 10, MORE),
    )


def body_with_a_key_twice() -> Spoilt:
    return Spoilt(
        respelt_body(lambda body: body.replace('"v":1', '"v":1,"v":1')),
        Break(19, None, None, FOREIGN),
    )


def body_at_a_time_that_never_was() -> Spoilt:
    what = "its day '2026-02-30' is not one such as 2026-01-31"
    return Spoilt(
        respelt_body(lambda body: body.replace("2026-01-05", "2026-02-30")),
        Break(19, "b", 10, what),
    )


def record_after_the_checkpoint() -> Spoilt:
    return Spoilt(
        [*GOOD, GOOD[LEAF_0]],
        Break(
            None,
            None,
            None,
            "line 25: it stands after the checkpoint, which must be the last line",
        ),
    )


def forked_log() -> Spoilt:
    other = Log(resealed(7, 6))
    return Spoilt(
        LOG.bundle("a"),
        Break(
            None,
            None,
            None,
            "the checkpoint kept 1 has another root for the same leaves: the log forked",
        ),
        (signed(other.tree, 20),),
    )


def forked_log_before_the_bundle() -> Spoilt:
    other = Log(resealed(7, 6))
    return Spoilt(
        LOG.bundle("a", old=10),
        Break(
            None,
            None,
            None,
            "the checkpoint kept 1 is not of the same log: the proof between the two does not hold",
        ),
        (signed(other.tree, 10),),
    )


CORRUPTIONS = [
    flipped_body,
    flipped_hash,
    flipped_body_and_hash,
    dropped_record,
    dropped_and_renumbered,
    swapped_records,
    inserted_record,
    retyped_value,
    retyped_sequence,
    cut_tail,
    cut_tail_with_older_checkpoint,
    cut_head,
    cut_head_of_a_bundle,
    chained_anew_without_the_key,
    chained_anew_with_the_header_left,
    chained_anew_with_the_key,
    filed_under_another_session,
    moved_to_another_session,
    renumbered_record,
    replayed_checkpoint,
    replayed_checkpoint_over_a_changed_end,
    forged_key,
    signature_under_anothers_id,
    stripped_signature,
    stripped_signature_and_blank_line,
    two_signatures_one_bad,
    changed_origin,
    changed_origin_of_the_header,
    changed_size,
    changed_size_of_the_header,
    changed_root,
    duplicated_leaf,
    proof_of_another_leaf,
    leaf_at_another_place,
    left_out_proof,
    record_of_another_session_in_a_bundle,
    truncated_last_line,
    changed_workflow,
    exchanged_workflow,
    forged_disclosure,
    exchanged_disclosure,
    disclosure_for_another_session,
    pruned_body_put_back_changed,
    pruned_hash_changed,
    reordered_sessions,
    spaced_body,
    escaped_body,
    body_with_data_twice,
    body_with_data_twice_and_hidden,
    body_that_ends_before_its_line,
    body_with_a_key_twice,
    body_at_a_time_that_never_was,
    record_after_the_checkpoint,
    forked_log,
    forked_log_before_the_bundle,
]


@pytest.mark.parametrize("spoil", CORRUPTIONS, ids=lambda spoil: spoil.__name__)
def test_what_was_spoilt_is_found_and_named(spoil: Callable[[], Spoilt]) -> None:
    spoilt = spoil()
    report = verified(spoilt.lines, *spoilt.kept)
    assert not report.ok
    assert spoilt.found in report.breaks, [str(one) for one in report.breaks]
    assert verified(spoilt.lines, *spoilt.kept, strict=True).breaks == report.breaks


def test_the_exports_that_are_spoilt_are_good() -> None:
    for lines in (GOOD, BUNDLE, LOG.bundle("b")):
        report = verified(lines, signed(LOG.tree, 20))
        assert report.ok, report.breaks
        assert report.verified == report.records


def test_one_spoilt_record_is_one_break() -> None:
    for spoil in (flipped_body, retyped_value, spaced_body, proof_of_another_leaf):
        report = verified(spoil().lines)
        assert (len(report.breaks), report.broken) == (1, 1)
        assert report.verified == report.records - 1


def test_a_chain_whose_first_record_names_a_predecessor_is_broken() -> None:
    forged = seal("c", 1, LOG.records[3].hash, "CallAllowed", START, {})
    report = verified(Log([*LOG.records, forged]).export())
    what = (
        "it was not sealed onto the start of its chain as it stands here: one of the two was "
        "changed"
    )
    assert [str(one) for one in report.breaks] == [f"leaf 20, session 'c', record 1: {what}"]


def test_what_only_a_strict_look_finds_is_found_by_one() -> None:
    for change, what in (
        (lambda body: body[:-1] + ',"x":{}}', MORE),
        (lambda body: body.replace('"amount"', '"ok":1,"ok"'), "it is not JSON: a key occurs tw"),
        (lambda body: body.replace(":19}", ":NaN}"), "it is not JSON: NaN is not a value"),
    ):
        lines = respelt_body(change)
        assert verified(lines).ok
        (found,) = verified(lines, strict=True).breaks
        assert (found.leaf, found.session, found.seq) == (19, "b", 10)
        assert found.what.startswith(what)
