"""The content register knows which bytes may be where."""

from __future__ import annotations

import hashlib

from onesim.content import BLOCK, ContentModel, Version, Write, block_digest, disk_key, image_key, pattern
from onesim.spec import load

EFFECTS = load().effects
IMAGE, DISK, OTHER = image_key(0), disk_key(0, 0), disk_key(1, 0)
CONTENT = Version(3 * BLOCK + 100, (Write(10, 5, 65), Write(2 * BLOCK - 2, 4, 66)))


def test_bytes_and_digests_of_a_version_agree() -> None:
    """The digest of every block is that of its bytes, also across block borders and in the last, short block."""
    whole = CONTENT.read(0, CONTENT.size)
    assert whole[10:15] == b"AAAAA" and whole[2 * BLOCK - 2 : 2 * BLOCK + 2] == b"BBBB"
    assert CONTENT.blocks == tuple(block_digest(whole[at : at + BLOCK]) for at in range(0, len(whole), BLOCK))
    assert CONTENT.blocks[0] == hashlib.sha256(whole[:BLOCK]).hexdigest()[:32]
    assert CONTENT.blocks[3] == "0"
    assert CONTENT.written((Write(10, 5, 65),)).read(0, 99) == CONTENT.read(0, 99)


def test_a_pattern_touches_the_end_of_the_disk() -> None:
    """A copy that loses the tail is found."""
    writes = pattern("seed", 2 << 20)
    assert max(one.offset + one.length for one in writes) == 2 << 20
    assert writes != pattern("another", 2 << 20)


def model() -> ContentModel:
    """A model with one image."""
    made = ContentModel()
    made.set(IMAGE, CONTENT)
    return made


def test_a_copy_is_independent_and_an_alias_is_not() -> None:
    """A guest's write changes the copy alone, or the image behind the alias."""
    one = model()
    one.apply("from", DISK, one.admits(IMAGE), CONTENT.size, origin=IMAGE)
    one.apply("from", OTHER, one.admits(IMAGE), CONTENT.size, origin=IMAGE)
    one.write(DISK, (Write(0, 1, 1),))
    assert one.admits(IMAGE) == one.admits(OTHER) == {CONTENT} != one.admits(DISK)
    two = model()
    two.apply("alias", DISK, two.admits(IMAGE), CONTENT.size, origin=IMAGE, alias=True)
    two.write(DISK, (Write(0, 1, 1),))
    assert two.admits(IMAGE) == two.admits(DISK) == {CONTENT.written((Write(0, 1, 1),))}


def test_a_failed_return_admits_both_contents_until_a_read_narrows_it() -> None:
    """After a cut mvds the image may be old or new; what is read decides."""
    made = model()
    made.apply("alias", DISK, made.admits(IMAGE), CONTENT.size, origin=IMAGE)
    made.write(DISK, (Write(0, 1, 1),))
    new = CONTENT.written((Write(0, 1, 1),))
    made.apply(EFFECTS["return"].failure, IMAGE, made.admits(DISK), CONTENT.size, origin=DISK)
    assert made.admits(IMAGE) == {CONTENT, new}
    made.narrow(IMAGE, new)
    assert made.admits(IMAGE) == {new}


def test_what_failed_or_is_gone_is_not_known() -> None:
    """After a failed copy anything may lie there; after a removal nothing is expected; a larger disk is the image and zeros."""
    made = model()
    made.apply(EFFECTS["copy"].failure, DISK, made.admits(IMAGE), CONTENT.size)
    assert not made.known(DISK)
    made.apply("from", DISK, made.admits(IMAGE), 4 * CONTENT.size)
    assert {one.size for one in made.admits(DISK) or ()} == {4 * CONTENT.size}
    made.apply("gone", DISK, None, 0)
    assert not made.known(DISK)
    made.apply("zero", DISK, None, 100)
    assert made.admits(DISK) == {Version(100)}
    made.apply("grown", DISK, None, 300)
    assert made.admits(DISK) == {Version(300)}
