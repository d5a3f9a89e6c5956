"""Datagrams as the monitor daemon reads them: KIND STATUS id time payload, where the payload is base64 of zlib of text or of blocks that RSA made.

Whatever arrives, nothing here raises: what cannot be read is a value. How a datagram should be written says `schemas/grammars/datagram.lark`.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from onesim.rsa_keys import PrivateKey, decrypt

#: What a payload may inflate to: a bound for us alone.
MAX_INFLATED_BYTES = 1024 * 1024
#: RSA cannot be compressed, so that more than this never came in one datagram.
_MAX_ENCRYPTED_BYTES = 65536
_MESSAGE = re.compile(r"\s*(\S{1,64})(?=\s)(?:\s+(\S{1,64}))?(?:\s+([+-]?[0-9]{1,18}))?(?:\s+([+-]?[0-9]{1,18}))?\s*([^\n]*)")


@dataclass(frozen=True)
class Message:
    """A message that could be read. A datastore's has `oid` -1 and the time 0, a node's the host's id and seconds since the epoch.

    The daemon reads on where status, id or time is missing: then they are a dash, -1 and 0.
    """

    kind: str
    status: str
    oid: int
    timestamp_s: int
    text: str
    encrypted: bool = False


@dataclass(frozen=True)
class Unreadable:
    """What is wrong with a message, and what to do."""

    what: str
    remedy: str


_NO_TEXT = Unreadable("the payload is no text; it may be encrypted", "send it in clear, or encrypt it for the key that monitord.conf names")
_NO_BASE64 = Unreadable("the payload is not base64 of zlib", "compress the text with zlib, then encode it in base64 without line breaks")


def unwrapped(payload: str) -> bytes | Unreadable:
    """Return what a payload holds: base64 and zlib undone."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(base64.b64decode(payload, validate=True), MAX_INFLATED_BYTES)
    except (binascii.Error, zlib.error, ValueError):
        return _NO_BASE64
    if len(payload) % 4:  # Python lets superfluous padding pass
        return _NO_BASE64
    if inflater.unconsumed_tail:
        return Unreadable(f"the payload inflates to more than {MAX_INFLATED_BYTES} bytes", "send the sizes of fewer VMs at a time")
    if not inflater.eof:
        return Unreadable("the payload is cut: zlib's end is missing", "send all of it in one datagram")
    return data


def in_words(data: bytes) -> str | Unreadable:
    """Return the text of a payload that was unwrapped."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _NO_TEXT


def decode(data: bytes, kinds: Collection[str], key: PrivateKey | None = None) -> Message | Unreadable:
    """Read a datagram. With a key, what was encrypted for it is decrypted, and what was not is taken as it is (oned 7.4.0: include/Message.h:209)."""
    found = _MESSAGE.match(data.decode("latin-1"))
    if found is None:
        return Unreadable("no kind of message at its beginning", "write MONITOR_VM SUCCESS -1 0, then the payload")
    kind, status, oid, seconds, payload = found.groups()
    if kind not in kinds:
        return Unreadable(f"{kind!r} is no kind of message", f"write one of {', '.join(sorted(kinds))}")
    content = unwrapped(payload.strip()) if payload.strip() else b""
    if isinstance(content, Unreadable):
        return content
    plain = decrypt(key, content) if key is not None and len(content) <= _MAX_ENCRYPTED_BYTES else None
    text = in_words(content if plain is None else plain)
    return text if isinstance(text, Unreadable) else Message(kind, status or "-", int(oid or -1), int(seconds or 0), text, plain is not None)


def encode(message: Message) -> bytes:
    """Return a message in clear as a node's client sends it (oned 7.4.0: src/im_mad/remotes/lib/monitord_client.rb:37)."""
    payload = base64.b64encode(zlib.compress(message.text.encode(), 9)).decode()
    return f"{message.kind} {message.status} {message.oid} {message.timestamp_s} {payload}".encode()
