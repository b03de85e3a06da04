"""The signed log of a real store, and what somebody does to store, tiles, checkpoints and key."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.histories import (
    Content,
    Story,
    contents,
    emergency,
    intruder,
    onboarding,
    payment,
    resealed,
    save,
)

from mcpuppet.audit.bundle import write_bundle
from mcpuppet.audit.keeping import UNSIGNED, CheckpointKeeper
from mcpuppet.audit.log import AuditLog, latest_checkpoint, read_checkpoint, write_export
from mcpuppet.audit.record import ChainBreak
from mcpuppet.audit.tree import TileTree
from mcpuppet.audit.verifier import (
    ExportReport,
    KeptCheckpoint,
    parse_key,
    verify_export,
)
from mcpuppet.audit.verify import VerifyReport, verify_store
from mcpuppet.errors import AuditError, InvalidInputError, StoreError, UnknownSessionError
from mcpuppet.session.admin_events import ADMINISTRATION, SigningKeyCreated
from mcpuppet.session.consequences import Progress
from mcpuppet.settings import AuditSettings
from mcpuppet.store.sqlite_reader import open_view

ORIGIN = "bank.example/gateway"


class Site:
    """A store, its signed log and what both report."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.store = folder / "store.db"
        self.settings = AuditSettings(folder / "audit", **settings)
        self.told: list[str] = []
        self.log = self.opened()

    def opened(self) -> AuditLog:
        """The log as another process has it."""
        return AuditLog(partial(open_view, self.store), self.settings, self.told.append)

    def init(self) -> str:
        with self.log.new_key(ORIGIN) as key:
            pass
        return key.verifier_key

    @property
    def key(self) -> str:
        return self.log.verifier_key()

    def verify(self, *kept: KeptCheckpoint) -> VerifyReport:
        wanted = self.log.kept([parse_key(self.key)], kept)
        return verify_store(partial(open_view, self.store), wanted)

    def breaks(self) -> list[tuple[str, int]]:
        return [(one.session_id, one.seq) for one in self.verify().breaks]

    def rewrite(self, session_id: str, change: Callable[[list[Content]], None]) -> None:
        """Change what a session's records say in place, and make chain and head hold again."""
        with open_view(self.store) as view:
            inside = contents(view.records(session_id))
        change(inside)
        chain = resealed(session_id, inside)
        connection = intruder(self.store)
        connection.executemany(
            "UPDATE record SET body=?, hash=? WHERE session=? AND seq=?",
            [(one.body, one.hash, session_id, one.seq) for one in chain],
        )
        connection.execute("UPDATE session SET head=? WHERE id=?", (chain[-1].hash, session_id))
        connection.close()

    def bundle(self, session_id: str, known: Sequence[str] = ()) -> list[bytes]:
        note = latest_checkpoint(self.settings)
        assert note is not None
        out = io.StringIO()
        with open_view(self.store) as reader:
            write_bundle(
                reader,
                session_id,
                TileTree(self.settings.directory, read_checkpoint(note).size),
                note,
                out,
                known=[read_checkpoint(one) for one in known],
            )
        return out.getvalue().encode().splitlines(keepends=True)

    def checked(self, lines: list[bytes], *kept: str) -> ExportReport:
        return verify_export(
            lines, [parse_key(self.key)], [KeptCheckpoint("kept", one) for one in kept]
        )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    save(folder / "store.db", [onboarding(), payment()])
    return folder


@pytest.fixture
def site(good: Path, tmp_path: Path) -> Site:
    """A store with two sessions, signed."""
    shutil.copytree(good, tmp_path / "site")
    site = Site(tmp_path / "site")
    site.init()
    site.log.checkpoint()
    return site


def grow(site: Site) -> None:
    """A third session."""
    save(site.store, [emergency()])


def hide(inside: list[Content]) -> None:
    """Make a denied call one of another tool: nothing of it is in the state."""
    kind, at, data = inside[2]
    assert kind == "CallDenied"
    inside[2] = (kind, at, {**data, "tool": "customer.get_customer"})


def only(report: VerifyReport) -> ChainBreak:
    (found,) = report.breaks
    return found


# --- signing ------------------------------------------------------------------------------------


def test_a_checkpoint_covers_all_that_is_recorded_and_verifies(site: Site) -> None:
    report = site.verify()
    assert report.breaks == ()
    assert report.log is not None
    assert (report.log.size, report.log.signed, report.log.newer) == (43, 43, 0)
    assert report.log.signers == (ORIGIN,)
    assert report.log.last_at is not None
    assert (report.verified, report.records) == (43, 43)


def test_nothing_new_is_not_signed_again(site: Site) -> None:
    assert site.log.checkpoint() is None
    assert len(site.log.kept().checkpoints) == 1


def test_what_comes_later_is_newer_than_the_last_checkpoint_until_it_is_signed(site: Site) -> None:
    grow(site)
    report = site.verify()
    assert report.ok
    assert report.log is not None
    assert report.log.newer == report.records - 43 > 0
    made = site.opened().checkpoint(thorough=True)
    assert made is not None
    assert made.size == report.records
    after = site.verify()
    assert after.log is not None
    assert (after.ok, after.log.checkpoints, after.log.newer) == (True, 2, 0)


def test_the_key_and_its_folder_are_for_their_owner_alone(site: Site) -> None:
    assert site.settings.directory.stat().st_mode & 0o777 == 0o700
    assert (site.settings.directory / "key").stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_replaced(site: Site) -> None:
    key = site.key
    with pytest.raises(InvalidInputError, match="there is a signing key already"):
        site.init()
    assert site.key == key


def test_a_key_whose_creation_could_not_be_recorded_is_not_kept(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(StoreError), site.log.new_key(ORIGIN):
        raise StoreError("the disk is full")
    assert not site.log.is_signed
    with pytest.raises(InvalidInputError, match="audit init"):
        site.log.checkpoint()


@pytest.mark.parametrize("cut", [1, 10, 60, 150])
def test_a_checkpoint_that_was_cut_off_by_a_crash_is_written_again(site: Site, cut: int) -> None:
    grow(site)
    site.log.checkpoint()
    history = site.settings.directory / "checkpoints"
    whole = history.read_bytes()
    history.write_bytes(whole[:-cut])
    assert site.opened().checkpoint() is not None
    assert history.read_bytes() == whole
    assert site.verify().ok


def test_tiles_beyond_the_last_checkpoint_are_written_again(site: Site) -> None:
    history = site.settings.directory / "checkpoints"
    before = history.read_bytes()
    grow(site)
    site.log.checkpoint()
    history.write_bytes(before)  # as if it had crashed before it signed
    assert site.opened().checkpoint() is not None
    assert site.verify().ok


# --- refusing to sign ---------------------------------------------------------------------------


def test_a_store_that_was_rewritten_is_not_signed(site: Site) -> None:
    site.rewrite("onboarding", hide)
    grow(site)
    with pytest.raises(AuditError, match=r"nothing was signed: record 3 of the log is not the one"):
        site.opened().checkpoint()
    assert len(site.log.kept().checkpoints) == 1


def test_a_history_that_is_gone_is_not_begun_anew(site: Site) -> None:
    (site.settings.directory / "checkpoints").write_bytes(b"")
    grow(site)
    with pytest.raises(AuditError, match="is gone or empty"):
        site.opened().checkpoint()


def test_a_store_that_lost_its_end_is_not_signed(site: Site) -> None:
    connection = intruder(site.store)
    connection.execute("DELETE FROM record WHERE position>40")
    connection.close()
    with pytest.raises(AuditError, match="record 41 of the log is missing"):
        site.opened().checkpoint()


def test_tiles_that_were_changed_are_not_signed(site: Site) -> None:
    (tile,) = (site.settings.directory / "tile" / "0").rglob("43")
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    grow(site)
    with pytest.raises(AuditError, match=r"the tiles in .* were changed"):
        site.opened().checkpoint()


def test_a_last_checkpoint_of_another_key_is_not_followed(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    other.folder.mkdir()
    shutil.copy(site.store, other.store)
    other.init()
    other.log.checkpoint()
    for name in ("checkpoints", "checkpoint"):
        shutil.copy(other.settings.directory / name, site.settings.directory / name)
    grow(site)
    with pytest.raises(AuditError, match="no given key signed it"):
        site.opened().checkpoint()


# --- verification -------------------------------------------------------------------------------


def test_a_full_rewrite_is_found_at_the_first_record_that_differs(site: Site) -> None:
    site.rewrite("onboarding", hide)
    assert verify_store(partial(open_view, site.store)).ok, "the chains alone hold"
    found = only(site.verify())
    assert (found.session_id, found.seq) == ("onboarding", 3)
    assert "is not the record that stood at place 3 of the log" in found.what


def test_a_rewrite_after_the_first_checkpoint_is_found_by_the_next(site: Site) -> None:
    grow(site)
    site.log.checkpoint()
    site.rewrite("emergency", lambda inside: inside[1][2].update(principal="mallory"))
    assert ("emergency", 2) in site.breaks()
    report = site.verify()
    assert report.log is not None
    assert (report.log.checkpoints, report.log.signed) == (1, 43)


def test_without_tiles_the_place_is_named_as_far_as_it_is_known(site: Site) -> None:
    site.rewrite("onboarding", hide)
    shutil.rmtree(site.settings.directory / "tile")
    found = only(site.verify())
    assert (found.session_id, found.seq) == ("", 1)
    assert "the places 1 to 43" in found.what


def test_a_session_that_was_removed_whole_is_a_cut_tail(site: Site) -> None:
    connection = intruder(site.store)
    for table, column in (("record", "session"), ("session", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column}='payment'")
    connection.close()
    assert verify_store(partial(open_view, site.store)).ok, "the chains alone hold"
    found = only(site.verify())
    assert found.session_id == ""
    assert f"its last {43 - found.seq} are missing" in found.what


def test_a_forged_checkpoint_is_a_break(site: Site) -> None:
    path = site.settings.directory / "checkpoint"
    path.write_text(path.read_text().replace("\n43\n", "\n42\n"))
    assert "forged or spoilt" in only(site.verify()).what


def test_a_key_and_checkpoints_that_are_gone_are_a_break_once_the_log_names_a_key(
    site: Site,
) -> None:
    key = site.key
    story = Story(ADMINISTRATION)

    def create(progress: Progress) -> None:
        progress.open_session(ADMINISTRATION, "5" * 64)
        progress.emit(SigningKeyCreated(key, "ann"))

    story.act(create)
    save(site.store, [story])
    site.log.checkpoint()
    assert verify_store(partial(open_view, site.store), site.log.kept()).ok
    shutil.rmtree(site.settings.directory)
    found = only(verify_store(partial(open_view, site.store), site.log.kept()))
    assert "no checkpoint is there" in found.what


def test_a_checkpoint_kept_elsewhere_convicts_who_holds_the_key(site: Site) -> None:
    outside = latest_checkpoint(site.settings)
    assert outside is not None
    site.rewrite("onboarding", hide)
    key = (site.settings.directory / "key").read_bytes()
    shutil.rmtree(site.settings.directory)
    site.settings.directory.mkdir()
    (site.settings.directory / "key").write_bytes(key)
    (site.settings.directory / "key").chmod(0o600)
    site.opened().checkpoint()
    assert site.verify().ok, "with the key stolen, and nothing outside, nothing shows"
    found = only(site.verify(KeptCheckpoint("auditor.txt", outside)))
    assert "auditor.txt" in found.what


# --- the second place ---------------------------------------------------------------------------


@pytest.fixture
def copied(good: Path, tmp_path: Path) -> Site:
    shutil.copytree(good, tmp_path / "site")
    site = Site(tmp_path / "site", copy_to=tmp_path / "share")
    site.init()
    return site


def test_a_second_place_that_is_not_there_is_told_and_caught_up_with(copied: Site) -> None:
    copied.log.checkpoint()
    share = copied.settings.copy_to
    assert share is not None
    (told,) = copied.told
    assert "is not a directory" in told
    assert not copied.verify().ok, "a verification misses it too"
    share.mkdir()
    grow(copied)
    copied.log.checkpoint()
    own = copied.settings.directory / "checkpoints"
    assert (share / "checkpoints").read_bytes() == own.read_bytes()
    assert (share / "checkpoint").read_text() == latest_checkpoint(copied.settings)
    assert copied.verify().ok


def test_a_second_place_with_other_checkpoints_is_left_as_it_is(copied: Site) -> None:
    share = copied.settings.copy_to
    assert share is not None
    share.mkdir()
    (share / "checkpoints").write_text("something else\n")
    copied.log.checkpoint()
    (told,) = copied.told
    assert "holds other checkpoints" in told
    assert (share / "checkpoints").read_text() == "something else\n"


def test_the_second_place_convicts_who_holds_key_store_and_folder(copied: Site) -> None:
    share = copied.settings.copy_to
    assert share is not None
    share.mkdir()
    copied.log.checkpoint()
    copied.rewrite("onboarding", hide)
    key = (copied.settings.directory / "key").read_bytes()
    shutil.rmtree(copied.settings.directory)
    copied.settings.directory.mkdir()
    (copied.settings.directory / "key").write_bytes(key)
    (copied.settings.directory / "key").chmod(0o600)
    copied.opened().checkpoint()
    assert [one for one in copied.told if "holds other checkpoints" in one]
    assert str(share) in only(copied.verify()).what


# --- exports ------------------------------------------------------------------------------------


def exported(site: Site, note: str | None) -> list[bytes]:
    out = io.StringIO()
    with open_view(site.store) as reader:
        assert write_export(reader, note, out) == reader.size()
    return out.getvalue().encode().splitlines(keepends=True)


def test_an_export_of_the_log_verifies_alone(site: Site) -> None:
    grow(site)
    note = latest_checkpoint(site.settings)
    assert note is not None
    report = site.checked(exported(site, note), note)
    assert report.breaks == ()
    assert (report.verified, report.uncovered) == (43, report.records - 43)
    assert report.workflows == 3


def test_an_export_without_a_checkpoint_proves_nothing_and_says_so(site: Site) -> None:
    assert not site.checked(exported(site, None)).ok


def test_a_checkpoint_of_more_records_than_there_are_is_not_exported(site: Site) -> None:
    grow(site)
    site.log.checkpoint()
    connection = intruder(site.store)
    connection.execute("DELETE FROM record WHERE session='emergency'")
    connection.close()
    with pytest.raises(AuditError, match="signed of"):
        exported(site, latest_checkpoint(site.settings))


def test_a_bundle_verifies_alone_and_against_an_older_checkpoint(site: Site) -> None:
    older = latest_checkpoint(site.settings)
    assert older is not None
    grow(site)
    site.log.checkpoint()
    lines = site.bundle("payment", [older])
    report = site.checked(lines, older)
    assert report.breaks == ()
    assert (report.scope, report.records, report.verified) == ("session", 18, 18)
    assert (report.workflows, report.kept) == (1, 1)


def test_a_bundle_says_which_records_came_after_the_checkpoint(site: Site) -> None:
    grow(site)
    report = site.checked(site.bundle("emergency"))
    assert report.ok
    assert report.verified == 0
    assert report.uncovered == report.records


def test_every_edited_line_of_a_bundle_is_found(site: Site) -> None:
    lines = site.bundle("onboarding")
    for number, line in enumerate(lines):
        edited_line = line.replace(b"customer", b"Customer", 1)
        if line.startswith(b'{"leaf"') and edited_line != line:
            edited = [*lines[:number], edited_line, *lines[number + 1 :]]
            assert not site.checked(edited).ok, number


def test_records_that_are_not_those_that_were_signed_are_not_bundled(site: Site) -> None:
    site.rewrite("onboarding", hide)
    with pytest.raises(AuditError, match="record 3: it is not the record that was signed"):
        site.bundle("onboarding")


def test_there_is_no_bundle_of_an_unknown_session(site: Site) -> None:
    with pytest.raises(UnknownSessionError):
        site.bundle("nobody")


# --- while a gateway serves ---------------------------------------------------------------------


class Version:
    """What a store's `data_version` is for: it changes with every commit."""

    def __init__(self) -> None:
        self.now = 1

    async def __call__(self) -> int:
        return self.now


async def signed(site: Site, size: int) -> None:
    with anyio.fail_after(5):
        while True:
            latest = site.log.latest()
            if latest is not None and latest.size == size:
                return
            await anyio.sleep(0.02)


@pytest.mark.anyio
@pytest.mark.parametrize("every_records", [1, 1_000_000])
async def test_many_records_and_the_end_of_a_run_are_signed_soon(
    good: Path, tmp_path: Path, every_records: int
) -> None:
    """`emergency` has a run that ended; the first two sessions wait for their time."""
    shutil.copytree(good, tmp_path / "site")
    site = Site(tmp_path / "site", every_records=every_records)
    site.init()
    site.log.checkpoint()
    version = Version()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(CheckpointKeeper(site.opened(), site.told.append).keep, version)
        await anyio.to_thread.run_sync(grow, site)
        version.now += 1
        with open_view(site.store) as view:
            await signed(site, view.size())
        tasks.cancel_scope.cancel()
    assert site.told == []


@pytest.mark.anyio
async def test_what_is_left_is_signed_at_the_end(site: Site) -> None:
    await anyio.to_thread.run_sync(grow, site)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await CheckpointKeeper(site.opened(), site.told.append).finish()
    latest = site.log.latest()
    assert latest is not None
    assert latest.size > 43


@pytest.mark.anyio
async def test_an_unsigned_trail_is_told_of_once_and_signed_once_there_is_a_key(
    good: Path, tmp_path: Path
) -> None:
    shutil.copytree(good, tmp_path / "site")
    site = Site(tmp_path / "site", every_records=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(CheckpointKeeper(site.opened(), site.told.append).keep, Version())
        while not site.told:  # noqa: ASYNC110 - it is a plain list
            await anyio.sleep(0.01)
        site.init()
        await signed(site, 43)
        tasks.cancel_scope.cancel()
    assert site.told == [UNSIGNED]


@pytest.mark.anyio
async def test_a_failure_that_nobody_thought_of_ends_no_conversation(site: Site) -> None:
    async def broken() -> int:
        raise ZeroDivisionError

    with anyio.move_on_after(1):
        await CheckpointKeeper(site.opened(), site.told.append).keep(broken)
    (told,) = site.told
    assert "ZeroDivisionError" in told


@pytest.mark.anyio
async def test_a_violation_is_told_loudly_and_once(site: Site) -> None:
    site.rewrite("onboarding", hide)
    keeper = CheckpointKeeper(site.opened(), site.told.append)
    await keeper.finish()
    await keeper.finish()
    (told,) = site.told
    assert "nothing was signed: record 3 of the log" in told
