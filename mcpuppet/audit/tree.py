"""The Merkle tree over a log's leaf hashes: building it, and making proofs from it.

The tree and the proofs are those of RFC 6962 and 9162, the files those of C2SP tlog-tiles: a tile
holds 256 hashes of one level, eight levels apart, and a partial tile the hashes of a level's end.
`Tree` keeps all hashes in memory, `TileTree` in such files, with little memory whatever the size.
Owns the files; deliberately knows neither what a leaf stands for nor when a checkpoint is signed.
How hashes are combined, and how proofs are checked, is `audit.verifier`.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from mcpuppet.audit.verifier import HASH_SIZE, node_hash, subtree_root
from mcpuppet.errors import AuditError, InvalidInputError, StoreError

TILE_HEIGHT = 8
TILE_WIDTH = 256
_CACHED_TILES = 64
_GROUP = 1000
"""Tiles are filed under names of three digits, so that no folder grows without bound."""


class _Proofs(ABC):
    """Roots and proofs of a tree, from the hashes of its perfect subtrees."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many leaves the tree has."""

    @abstractmethod
    def _node(self, level: int, index: int) -> bytes:
        """The root of the perfect subtree over leaves index * 2^level up to the next."""

    def root(self, size: int | None = None) -> bytes:
        """The 32-byte root over the first `size` leaves, or all of them (RFC 9162, 2.1.1).

        Raises InvalidInputError if there are fewer.
        """
        return self._root(0, self._checked(self.size if size is None else size))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that the leaf `index` (from 0) is in the tree of `size` (RFC 9162, 2.1.3.1).

        Raises InvalidInputError if it is not.
        """
        if not 0 <= index < self._checked(size):
            raise InvalidInputError(f"leaf {index} is not among the first {size} leaves")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._root(middle, end))
                end = middle
            else:
                proof.append(self._root(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of `new` leaves extends that of `old` (RFC 9162, 2.1.4.1).

        It is empty for `old` 0 and for equal sizes. Raises InvalidInputError if there is none.
        """
        if not 0 <= old <= self._checked(new):
            raise InvalidInputError(f"the tree of {old} leaves is not the start of one of {new}")
        if old in (0, new):
            return []
        proof: list[bytes] = []
        start, end = 0, new
        while end != old:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._root(middle, end))
                end = middle
            else:
                proof.append(self._root(start, middle))
                start = middle
        # The old tree's own root is known to the verifier and needs no mention.
        if start:
            proof.append(self._root(start, end))
        return proof[::-1]

    def _checked(self, size: int) -> int:
        if not 0 <= size <= self.size:
            raise InvalidInputError(f"the tree has {self.size} leaves, not {size}")
        return size

    def _root(self, start: int, end: int) -> bytes:
        """The root over leaves that begin where a subtree of their number may begin."""
        size = end - start
        if size == 0:
            return subtree_root(())
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._node(level, start >> level)
        middle = start + _split(size)
        return node_hash(self._root(start, middle), self._root(middle, end))


class Tree(_Proofs):
    """A tree in memory, 64 bytes a leaf and what Python adds."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the 32-byte hash of the next leaf."""
        level, whole = 0, _hash(leaf)
        self._levels[0].append(whole)
        while len(self._levels[level]) % 2 == 0:
            left, right = self._levels[level][-2:]
            level, whole = level + 1, node_hash(left, right)
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(whole)

    def _node(self, level: int, index: int) -> bytes:
        return self._levels[level][index]


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """The path of a tile below the log's folder, as C2SP tlog-tiles names it.

    Tile 1234067 of level 0 is `tile/0/x001/x234/067`; with a width below 256 it is a partial one.
    """
    groups = [f"{index % _GROUP:03}"]
    while index := index // _GROUP:
        groups.insert(0, f"x{index % _GROUP:03}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{partial}"


class TileTree(_Proofs):
    """A tree whose hashes are in the tiles below a folder; one process at a time may append.

    `size` is how many leaves were acknowledged; the tiles may hold more after a crash, and what is
    beyond is written again. Raises AuditError if tiles are missing or damaged. Opening reads one
    tile a level.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self._directory = directory
        self._size = size
        self._cache: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()
        self._ends: list[list[bytes]] = []
        """For each level of tiles the hashes after the last full tile."""
        for level in range(_levels(self._size)):
            self._ends.append(self._read_end(level))

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the 32-byte hashes of the next leaves; they are durable when this returns.

        Every file is complete or absent. Raises StoreError if one cannot be written; then the tree
        must be opened again at the size that was acknowledged.
        """
        touched = 0
        try:
            for leaf in leaves:
                touched = max(touched, self._add(0, _hash(leaf)))
                self._size += 1
            for level, end in enumerate(self._ends[: touched + 1]):
                if end:
                    self._write(level, self._full_tiles(level), end)
        except OSError as error:
            raise StoreError(f"the tiles of the audit log cannot be written: {error}") from error

    def _add(self, level: int, whole: bytes) -> int:
        """Put a hash at the end of a level of tiles; returns the highest level that changed."""
        if level == len(self._ends):
            self._ends.append([])
        end = self._ends[level]
        end.append(whole)
        if len(end) < TILE_WIDTH:
            return level
        index = self._full_tiles(level, self._size + 1) - 1
        self._write(level, index, end)
        # Whoever asks for a partial tile of it takes the full one, so they are of no more use.
        shutil.rmtree(self._directory / f"{tile_path(level, index)}.p", ignore_errors=True)
        self._ends[level] = []
        return self._add(level + 1, subtree_root(end))

    def _full_tiles(self, level: int, size: int | None = None) -> int:
        leaves = self._size if size is None else size
        return leaves >> TILE_HEIGHT * (level + 1)

    def _write(self, level: int, index: int, hashes: list[bytes]) -> None:
        path = self._directory / tile_path(level, index, len(hashes))
        _make_folder(path.parent)
        _replace(path, b"".join(hashes))

    def _node(self, level: int, index: int) -> bytes:
        tiles, within = divmod(level, TILE_HEIGHT)
        first = index << within
        tile, offset = divmod(first, TILE_WIDTH)
        return subtree_root(self._tile(tiles, tile)[offset : offset + (1 << within)])

    def _tile(self, level: int, index: int) -> list[bytes]:
        if index == self._full_tiles(level):
            return self._ends[level]
        if (level, index) not in self._cache:
            self._cache[level, index] = self._read(level, index, TILE_WIDTH)
            if len(self._cache) > _CACHED_TILES:
                self._cache.popitem(last=False)
        self._cache.move_to_end((level, index))
        return self._cache[level, index]

    def _read_end(self, level: int) -> list[bytes]:
        width = (self._size >> TILE_HEIGHT * level) % TILE_WIDTH
        return self._read(level, self._full_tiles(level), width) if width else []

    def _read(self, level: int, index: int, width: int) -> list[bytes]:
        """The first hashes of a tile, from the partial tile of that width or the full one."""
        paths = [self._directory / tile_path(level, index, one) for one in (width, TILE_WIDTH)]
        for path in paths:
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise AuditError(f"the tile {path} cannot be read: {error}") from error
            if len(content) not in (width * HASH_SIZE, TILE_WIDTH * HASH_SIZE):
                raise AuditError(f"the tile {path} is damaged: it has {len(content)} bytes")
            return [content[at : at + HASH_SIZE] for at in range(0, width * HASH_SIZE, HASH_SIZE)]
        raise AuditError(f"the tile {paths[0]} is missing")


def stored_size(directory: Path) -> int:
    """How many leaves the tiles below a folder hold, for those who have no better knowledge.

    After a crash that may be more than was acknowledged.
    """
    full = _full_tiles_in(directory)
    partial = directory / f"{tile_path(0, full)}.p"
    widths = [one.name for one in partial.iterdir()] if partial.is_dir() else []
    return full * TILE_WIDTH + max((int(one) for one in widths if one.isdecimal()), default=0)


def _full_tiles_in(directory: Path) -> int:
    """The number of full tiles of level 0, which lie there from the first on without a gap."""
    low, high = 0, 1
    while (directory / tile_path(0, high - 1)).is_file():
        low, high = high, high * 2
    while low < high - 1:
        middle = (low + high) // 2
        if (directory / tile_path(0, middle - 1)).is_file():
            low = middle
        else:
            high = middle
    return low


def _levels(size: int) -> int:
    """How many levels of tiles a tree has."""
    return max(1, -(-size.bit_length() // TILE_HEIGHT))


def _split(size: int) -> int:
    """The largest power of two below `size`, where RFC 9162 splits a tree."""
    return 1 << (size - 1).bit_length() - 1


def _hash(leaf: bytes) -> bytes:
    if len(leaf) != HASH_SIZE:
        raise InvalidInputError(f"a leaf is a hash of {HASH_SIZE} bytes, not of {len(leaf)}")
    return leaf


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable in the one that holds it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there as a whole or as it was."""
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, and makes a rename durable by itself.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
