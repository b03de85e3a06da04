"""Whether a process is alive is told by a lock, which no crash can leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcpuppet.errors import InvalidInputError, StoreError
from mcpuppet.store.nodes import Nodes

PROCESS = Path(__file__).with_name("store_process.py")


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


@contextmanager
def living(store_path: Path, node_id: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(PROCESS), "live", str(store_path), node_id]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"joined\n"
        try:
            yield process
        finally:
            process.kill()


def files(store_path: Path) -> list[str]:
    return sorted(it.name for it in store_path.with_name("store.db.nodes").iterdir())


def test_constructing_touches_nothing(store_path: Path) -> None:
    assert not Nodes(store_path, "a").is_alive("b")
    assert not store_path.parent.exists()


def test_a_process_is_alive_until_it_is_killed(store_path: Path) -> None:
    nodes = Nodes(store_path, "watcher")
    with living(store_path, "other") as process:
        assert nodes.is_alive("other")
        assert nodes.is_alive("other"), "asking must not disturb it"
        process.kill()
        process.wait()
        assert not nodes.is_alive("other")
    assert files(store_path) == []


def test_a_node_is_alive_between_join_and_leave(store_path: Path) -> None:
    node, watcher = Nodes(store_path, "a"), Nodes(store_path, "b")
    for _ in range(2):
        assert not node.is_alive("a")
        node.join()
        node.join()
        assert node.is_alive("a")
        assert watcher.is_alive("a")
        node.leave()
        node.leave()
        assert not watcher.is_alive("a")
    assert files(store_path) == []


def test_joining_cleans_up_after_the_dead_and_spares_the_living(store_path: Path) -> None:
    with living(store_path, "dead") as dead, living(store_path, "alive"):
        dead.kill()
        dead.wait()
        node = Nodes(store_path, "me")
        node.join()
        assert files(store_path) == ["alive.lock", "me.lock"]
        assert node.is_alive("alive")
        node.leave()


@pytest.mark.parametrize("node_id", ["", "..", "../other", "a/b", "a.b", "x" * 65, "é", "a\n"])
def test_what_cannot_be_a_node_id_never_becomes_a_file_name(store_path: Path, node_id: str) -> None:
    with pytest.raises(InvalidInputError, match="is not a node id"):
        Nodes(store_path, "me").is_alive(node_id)
    with pytest.raises(InvalidInputError, match="is not a node id"):
        Nodes(store_path, node_id)


def test_a_place_where_no_lock_can_be_held_is_a_store_error(store_path: Path) -> None:
    store_path.parent.mkdir()
    store_path.with_name("store.db.nodes").write_text("a file")
    with pytest.raises(StoreError, match=r"store\.db\.nodes cannot be used"):
        Nodes(store_path, "me").join()


def test_only_the_owner_can_read_the_lock_files(store_path: Path) -> None:
    node = Nodes(store_path, "me")
    node.join()
    directory = store_path.with_name("store.db.nodes")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "me.lock").stat().st_mode & 0o777 == 0o600
    node.leave()
