"""Datagrams as the monitor daemon reads them: what is well formed, what is encrypted, and garbage, which never raises."""

from __future__ import annotations

import base64
import random
import subprocess
import zlib
from collections.abc import Callable

import pytest
from messages import wrapped

from onesim.datagrams import MAX_INFLATED_BYTES, Message, Unreadable, decode, encode
from onesim.errors import HarnessError
from onesim.rsa_keys import PrivateKey, decrypt, read_private_key

KINDS = frozenset({"MONITOR_VM", "SYSTEM_HOST"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wrapped("x"), Message("MONITOR_VM", "SUCCESS", -1, 0, "x")),
        (wrapped("x") + b"\n", Message("MONITOR_VM", "SUCCESS", -1, 0, "x")),
        (wrapped("x", "SYSTEM_HOST FAILURE 7 1700000000"), Message("SYSTEM_HOST", "FAILURE", 7, 1700000000, "x")),
        # blanks do not count, a second line is never seen, no payload is an empty text
        (wrapped("x", "  MONITOR_VM\tSUCCESS   -1  0  ") + b"\nMONITOR_VM again", Message("MONITOR_VM", "SUCCESS", -1, 0, "x")),
        (b"MONITOR_VM SUCCESS -1 0", Message("MONITOR_VM", "SUCCESS", -1, 0, "")),
        # the daemon reads on where words are missing
        (wrapped("x", "MONITOR_VM SUCCESS -1"), Message("MONITOR_VM", "SUCCESS", -1, 0, "x")),
        (b"MONITOR_VM SUCC", Message("MONITOR_VM", "SUCC", -1, 0, "")),
        (b"MONITOR_VM ", Message("MONITOR_VM", "-", -1, 0, "")),
    ],
)
def test_a_message_is_read(data: bytes, message: Message) -> None:
    """Kind, status, id, time, text."""
    assert decode(data, KINDS) == message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no kind"),
        (b"\xff\xfe\x00", "no kind"),
        (b"MONITOR_VM", "no kind"),
        (wrapped("x", "MONITOR_VM SUCCESS x 0"), "not base64"),
        (wrapped("x", "MONITOR_VM SUCCESS 1x 0"), "not base64"),
        (wrapped("x") + b"=", "not base64"),
        (b"MONITOR_VM SUCCESS -1 " + b"9" * 5000, "not base64"),
        (wrapped("x", "MONITOR_VMS SUCCESS -1 0"), "'MONITOR_VMS'"),
        (b"MONITOR_VM SUCCESS -1 0 not base64!", "not base64 of zlib"),
        (b"MONITOR_VM SUCCESS -1 0 \xc3\xa9", "not base64 of zlib"),
        (b"MONITOR_VM SUCCESS -1 0 " + base64.b64encode(b"plain"), "not base64 of zlib"),
        (b"MONITOR_VM SUCCESS -1 0 " + base64.b64encode(zlib.compress(b"x" * 99)[:-5]), "cut"),
        (wrapped(b"x" * (MAX_INFLATED_BYTES + 1)), "inflates to more"),
        (wrapped(b"\xff\xfe"), "may be encrypted"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, words: str) -> None:
    """A value with a reason and a remedy, never an exception."""
    found = decode(data, KINDS)
    assert isinstance(found, Unreadable) and words in found.what and found.remedy


def test_nothing_raises_whatever_arrives() -> None:
    """Random bytes, and good messages with bytes changed, cut and repeated; with a key and without."""
    chance = random.Random(7)
    key = PrivateKey((1 << 511) + 187, 65537)
    good = wrapped('VM = [ ID = 3, MONITOR = "RElTSw==" ]')
    for _ in range(3000):
        data = bytearray(good if chance.random() < 0.7 else chance.randbytes(chance.randrange(200)))
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.randrange(len(data) + 1)] * chance.randrange(1, 3)
        for one in (None, key):
            assert isinstance(decode(bytes(data), KINDS, one), Message | Unreadable)


def test_what_a_node_sends_is_read_again() -> None:
    """The inverse of decoding."""
    message = Message("SYSTEM_HOST", "SUCCESS", 1, 1700000000, "DS = [ ID = 0 ]\nÄ\n")
    assert decode(encode(message), KINDS) == message


@pytest.mark.parametrize("length", [1, 117, 118, 5000])
def test_what_openssl_encrypted_is_read(keys: tuple[str, Callable[[bytes], bytes]], length: int) -> None:
    """One block and many; without the key it is no text."""
    pem, encrypt = keys
    text = ("VM = [ ID = 3 ] " * 400)[:length]
    data = wrapped(encrypt(text.encode()))
    assert decode(data, KINDS, read_private_key(pem)) == Message("MONITOR_VM", "SUCCESS", -1, 0, text, encrypted=True)
    assert isinstance(decode(data, KINDS), Unreadable)


def test_what_is_not_encrypted_is_taken_as_it_is(keys: tuple[str, Callable[[bytes], bytes]]) -> None:
    """As the daemon does, even where the length is that of a block; a block cut off, or of another key, makes all of it unreadable."""
    pem, encrypt = keys
    key = read_private_key(pem)
    assert decode(wrapped("x" * 128), KINDS, key) == Message("MONITOR_VM", "SUCCESS", -1, 0, "x" * 128)
    secret = encrypt(b"x" * 200)
    assert isinstance(decode(wrapped(secret[:-1]), KINDS, key), Unreadable)
    assert isinstance(decode(wrapped(secret[128:] + secret[:127] + bytes([secret[127] ^ 1])), KINDS, key), Unreadable)
    assert decrypt(key, b"") is None and decrypt(key, b"\xff" * 128) is None


def test_a_private_key_is_read_with_its_envelope_and_without(keys: tuple[str, Callable[[bytes], bytes]]) -> None:
    """PKCS #8 and PKCS #1 are one key; what is none is our own fault."""
    command = ["openssl", "rsa", "-traditional"]
    traditional = subprocess.run(command, input=keys[0], check=True, capture_output=True, text=True).stdout
    assert "BEGIN RSA PRIVATE KEY" in traditional and "BEGIN PRIVATE KEY" in keys[0]
    assert read_private_key(traditional) == read_private_key(keys[0])
    for wrong in ("", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "no key", "MAMCAQA="):
        with pytest.raises(HarnessError, match="private key"):
            read_private_key(wrong)
