"""Roots and proofs against the definitions of RFC 6962, in memory and from tiles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mcpuppet.audit.tree import TileTree, Tree, stored_size, tile_path
from mcpuppet.audit.verifier import (
    CompactRange,
    check_consistency,
    check_inclusion,
    leaf_hash,
    subtree_root,
)
from mcpuppet.errors import AuditError, InvalidInputError

MOST = 130
LEAVES = [leaf_hash(b"%d" % number) for number in range(1000)]


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as it is written there, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = defined_root(leaves[:split]), defined_root(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


ROOTS = [defined_root(LEAVES[:size]) for size in range(MOST + 1)]


def test_known_hashes_of_certificate_transparency_come_out() -> None:
    # The test vectors of the certificate-transparency project for trees of 0, 1 and 3 leaves.
    vectors = [b"", b"\x00", b"\x10"]
    hashes = [leaf_hash(one) for one in vectors]
    assert subtree_root(()).hex().startswith("e3b0c44298fc1c14")
    assert subtree_root(hashes[:1]).hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert subtree_root(hashes).hex() == (
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )


def test_every_way_to_a_root_gives_the_defined_one() -> None:
    stream = CompactRange()
    tree = Tree()
    for size in range(MOST + 1):
        assert stream.root() == ROOTS[size] == tree.root() == subtree_root(LEAVES[:size])
        stream.append(LEAVES[size])
        tree.append(LEAVES[size])
    assert [tree.root(size) for size in range(MOST + 1)] == ROOTS


def test_a_stream_folds_whole_blocks_like_single_leaves() -> None:
    stream = CompactRange()
    for size, leaf in enumerate(LEAVES):
        if size % 97 == 0 or size % 256 in (0, 1, 255):
            assert stream.root() == defined_root(LEAVES[:size])
        stream.append(leaf)


def test_every_inclusion_proof_leads_to_its_root_and_to_no_other() -> None:
    tree = Tree(LEAVES[:MOST])
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = tree.inclusion(index, size)
            leaf, root = LEAVES[index], ROOTS[size]
            assert check_inclusion(leaf, index, size, proof, root)
            assert not check_inclusion(LEAVES[index + 1], index, size, proof, root)
            assert not check_inclusion(leaf, index, size, proof, ROOTS[size - 1])
            assert not check_inclusion(leaf, index, size, [*proof, root], root)
            assert not check_inclusion(leaf, index + size, size, proof, root)
            if proof:
                assert not check_inclusion(leaf, index, size, proof[1:], root)
                assert not check_inclusion(leaf, index ^ 1, size, proof, root)


def test_every_consistency_proof_holds_between_its_roots_and_no_others() -> None:
    tree = Tree(LEAVES[:MOST])
    for new in range(MOST + 1):
        for old in range(new + 1):
            proof = tree.consistency(old, new)
            assert check_consistency(old, new, ROOTS[old], ROOTS[new], proof)
            # Nothing is the start of everything.
            assert check_consistency(old, new, ROOTS[old], LEAVES[0][::-1], proof) == (
                0 == old < new
            )
            assert not check_consistency(old, new, LEAVES[0][::-1], ROOTS[new], proof)
            assert not check_consistency(old, new, ROOTS[old], ROOTS[new], [*proof, ROOTS[0]])
            assert not check_consistency(new + 1, new, ROOTS[old], ROOTS[new], proof)
            if proof:
                assert not check_consistency(old, new, ROOTS[old], ROOTS[new], proof[:-1])


def test_what_no_tree_has_is_refused() -> None:
    tree = Tree(LEAVES[:5])
    for ask in (
        lambda: tree.root(6),
        lambda: tree.root(-1),
        lambda: tree.inclusion(5, 5),
        lambda: tree.inclusion(0, 6),
        lambda: tree.consistency(4, 3),
        lambda: tree.consistency(-1, 3),
        lambda: tree.append(b"short"),
    ):
        with pytest.raises(InvalidInputError):
            ask()


def test_tiles_are_named_as_c2sp_names_them() -> None:
    assert tile_path(0, 0) == "tile/0/000"
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(2, 1000) == "tile/2/x001/000"
    assert tile_path(1, 5, 17) == "tile/1/005.p/17"


@pytest.mark.parametrize("step", [1, 7, 256, 300, 1000])
def test_tiles_give_what_memory_gives(tmp_path: Path, step: int) -> None:
    leaves = LEAVES if step > 1 else LEAVES[:300]
    tree, memory = TileTree(tmp_path, 0), Tree(leaves)
    for start in range(0, len(leaves), step):
        tree.extend(leaves[start : start + step])
        assert tree.root() == memory.root(tree.size)
    for size in (1, 2, 255, 256, 257, len(leaves)):
        if size <= len(leaves):
            assert tree.root(size) == memory.root(size)
            assert tree.inclusion(size // 2, size) == memory.inclusion(size // 2, size)
            assert tree.consistency(size // 3, size) == memory.consistency(size // 3, size)


def test_tiles_go_on_after_every_start_anew(tmp_path: Path) -> None:
    for size in range(0, 600, 23):
        assert stored_size(tmp_path) == size
        tree = TileTree(tmp_path, size)
        assert tree.root() == defined_root(LEAVES[:size])
        tree.extend(LEAVES[size : size + 23])
        assert tree.root() == defined_root(LEAVES[: size + 23])


def test_a_second_level_of_tiles_is_written_and_read(tmp_path: Path) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(256 * 256 + 300)]
    TileTree(tmp_path, 0).extend(leaves)
    names = {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()}
    assert {"tile/0/256", "tile/0/257.p/44", "tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"} <= (
        names
    )
    assert len(names) == 261
    tree, memory = TileTree(tmp_path, len(leaves)), Tree(leaves)
    assert stored_size(tmp_path) == len(leaves)
    assert tree.root() == memory.root()
    for index, size in ((0, len(leaves)), (70_000 % len(leaves), len(leaves)), (65_535, 65_536)):
        assert tree.inclusion(index, size) == memory.inclusion(index, size)
    assert tree.consistency(40_000, len(leaves)) == memory.consistency(40_000, len(leaves))


def test_a_tile_holds_the_hashes_of_its_level_one_after_another(tmp_path: Path) -> None:
    TileTree(tmp_path, 0).extend(LEAVES[:300])
    assert (tmp_path / tile_path(0, 0)).read_bytes() == b"".join(LEAVES[:256])
    assert (tmp_path / tile_path(0, 1, 44)).read_bytes() == b"".join(LEAVES[256:300])
    assert (tmp_path / tile_path(1, 0, 1)).read_bytes() == defined_root(LEAVES[:256])


def test_what_was_written_but_never_acknowledged_is_written_again(tmp_path: Path) -> None:
    TileTree(tmp_path, 0).extend(LEAVES[:200])
    TileTree(tmp_path, 200).extend(LEAVES[500:700])
    # The crash: the tiles have 400 leaves, but 200 were acknowledged.
    tree = TileTree(tmp_path, 200)
    tree.extend(LEAVES[200:300])
    assert tree.root() == defined_root(LEAVES[:300])
    assert TileTree(tmp_path, 300).root() == defined_root(LEAVES[:300])


def test_missing_and_damaged_tiles_are_named(tmp_path: Path) -> None:
    TileTree(tmp_path, 0).extend(LEAVES[:600])
    tile = tmp_path / tile_path(0, 1)
    tile.write_bytes(tile.read_bytes()[:-1])
    with pytest.raises(AuditError, match=r"001 is damaged: it has 8191 bytes"):
        TileTree(tmp_path, 600).inclusion(300, 600)
    tile.unlink()
    with pytest.raises(AuditError, match=r"001 is missing"):
        TileTree(tmp_path, 600).inclusion(300, 600)
    with pytest.raises(AuditError, match=r"002\.p/100 is missing"):
        TileTree(tmp_path, 612)
