"""The content register: which bytes every image and disk may hold. Pure; the executor compares it with what lies on the hosts.

All content is made of zeros and pattern writes (one byte repeated), so that a version is a few numbers, its bytes can be told anywhere, and real
images of any size and format can be filled with it. Offsets and lengths are bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

BLOCK = 64 * 1024


@dataclass(frozen=True)
class Write:
    """One byte repeated over a stretch."""

    offset: int
    length: int
    byte: int


@dataclass(frozen=True)
class Version:
    """One content: zeros of `size` bytes, then the writes in order."""

    size: int
    writes: tuple[Write, ...] = ()

    @cached_property
    def id(self) -> str:
        """A short name that is equal for equal definitions."""
        text = ";".join(f"{one.offset},{one.length},{one.byte}" for one in self.writes)
        return "v" + hashlib.sha256(f"{self.size}:{text}".encode()).hexdigest()[:10]

    def written(self, writes: tuple[Write, ...]) -> Version:
        """Return the content after further writes."""
        return Version(self.size, self.writes + writes)

    def resized(self, size: int) -> Version:
        """Return the content on a larger disk: zeros follow."""
        return Version(max(size, self.size), self.writes)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a stretch."""
        stretch = bytearray(length)
        for write in self.writes:
            start, end = max(write.offset, offset), min(write.offset + write.length, offset + length)
            if start < end:
                stretch[start - offset : end - offset] = bytes([write.byte]) * (end - start)
        return bytes(stretch)

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Digest of every 64 KiB block, as `block_digest` gives it."""
        touched = {index for one in self.writes for index in range(one.offset // BLOCK, (one.offset + one.length - 1) // BLOCK + 1)}
        count = (self.size + BLOCK - 1) // BLOCK
        return tuple(
            block_digest(self.read(index * BLOCK, min(BLOCK, self.size - index * BLOCK))) if index in touched else "0" for index in range(count)
        )


def block_digest(block: bytes) -> str:
    """Return the digest of one block: `0` for zeros, else 32 hex digits of SHA-256."""
    return hashlib.sha256(block).hexdigest()[:32] if block.strip(b"\0") else "0"


def pattern(seed: str, size: int, count: int = 4) -> tuple[Write, ...]:
    """Return `count` writes of 4 KiB spread over a disk of `size` bytes, with bytes that follow from `seed`; the last one ends near the end of the disk."""
    digest = hashlib.sha256(seed.encode()).digest()
    cell = 4096
    cells = max(size // cell, 1)
    spread = [(digest[n] * 257 + n * cells // count) % cells for n in range(count - 1)] + [cells - 1]
    return tuple(Write(at * cell, cell, digest[8 + n] % 255 + 1) for n, at in enumerate(spread))


#: Whose content a register holds: a kind and numbers.
Key = tuple[str | int, ...]
Versions = frozenset[Version] | None


def image_key(id: int) -> Key:
    """The register of an image."""
    return ("image", id)


def disk_key(vm: int, disk: int) -> Key:
    """The register of a VM's disk."""
    return ("disk", vm, disk)


def backup_key(image: int, increment: int, disk: int) -> Key:
    """The register of one disk in one increment of a backup; a backup without increments is its increment 0."""
    return ("backup", image, increment, disk)


@dataclass
class Register:
    """The admissible versions of one image, disk or backup, and of its snapshots by id; none = anything. An alias shares the content of its image.

    A disk's snapshots are its own while a VM has it, also where its content is that of an image.
    """

    versions: Versions
    alias: Key | None = None
    snapshots: dict[int, Versions] = field(default_factory=dict)


@dataclass
class ContentModel:
    """All registers of a case."""

    registers: dict[Key, Register] = field(default_factory=dict)

    def admits(self, key: Key, snapshot: int = -1) -> Versions:
        """Return the admissible versions of a register or of one of its snapshots; None where anything is or nothing is known."""
        register = self.registers.get(key)
        if register is None:
            return None
        if snapshot >= 0:
            return register.snapshots.get(snapshot)
        return self.admits(register.alias) if register.alias else register.versions

    def known(self, key: Key) -> bool:
        """Whether the register exists and its content is known."""
        return self.admits(key) is not None

    def set(self, key: Key, version: Version) -> None:
        """State the content of a register."""
        self.registers[key] = Register(frozenset({version}))

    def put(self, key: Key, versions: Versions) -> None:
        """State what a register may hold from now on; behind an alias, its image."""
        register = self.registers.setdefault(key, Register(None))
        if register.alias:
            self.put(register.alias, versions)
        else:
            register.versions = versions

    def write(self, key: Key, writes: tuple[Write, ...]) -> str:
        """A guest writes to a disk (through its alias if it is one). Returns the id of the new version, empty if the content was unknown."""
        versions = self.admits(key)
        if versions is None:
            return ""
        written = frozenset(one.written(writes) for one in versions)
        self.put(key, written)
        return ",".join(sorted(one.id for one in written))

    def narrow(self, key: Key, version: Version) -> None:
        """A read found one of the admissible versions: it is the one from now on."""
        self.put(key, frozenset({version}))

    def apply(self, how: str, target: Key, read: Versions, size: int, *, origin: Key | None = None, alias: bool = False, snapshot: int = -1) -> None:
        """Apply what a call did to the register `target`; `how` is a word of the effect table.

        `read` is the content that was read, and `origin` the register that it came from, if any; `size` the disk's size in bytes. `alias` tells whether
        an alias is really shared (LN_TARGET=NONE) or a copy that comes back. With `snapshot` the change is about that snapshot of the target.
        """
        before = self.admits(target, snapshot)
        carried = dict(self.registers[origin].snapshots) if origin in self.registers else {}
        match how:
            case "same":
                return
            case "any" | "zero" | "from" | "gone" if snapshot >= 0:
                self._keep(target, snapshot, read if how == "from" else None)
            case "gone":
                self.registers.pop(target, None)
            case "any":
                self.registers[target] = Register(None)
            case "zero":
                self.registers[target] = Register(frozenset({Version(size)}))
            case "from":
                self.registers[target] = Register(_resized(read, size))
            case "alias":
                self.registers[target] = Register(None, origin, carried) if alias and origin is not None else Register(read, None, carried)
            case "return":
                self.registers[target] = Register(_resized(read, size), None, carried)
            case "back" | "flat":
                self.put(target, read)
                if how == "flat":
                    self.registers[target].snapshots.clear()
            case "grown":
                self.put(target, _resized(before, size))
            case "widen":
                self.put(target, None if before is None or read is None else before | read)

    def _keep(self, target: Key, snapshot: int, versions: Versions) -> None:
        register = self.registers.setdefault(target, Register(None))
        if versions is None:
            register.snapshots.pop(snapshot, None)
        else:
            register.snapshots[snapshot] = versions


def _resized(versions: Versions, size: int) -> Versions:
    return None if versions is None else frozenset(one.resized(size) for one in versions)
