"""RSA as the monitor daemon uses it: blocks of the key's size, each padded by PKCS #1 v1.5 (oned 7.4.0: src/common/SSLUtil.cc, rsa_private_decrypt).

Arithmetic alone, because the answer to what is not encrypted must be a plain no: newer versions of OpenSSL return random bytes there. The keys are made
for one run and guard nothing.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from onesim.errors import HarnessError

_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
#: Kind of block 2 and at least 8 bytes of padding stand before the zero that ends it.
_PADDING_MIN_BYTES = 10


@dataclass(frozen=True)
class PrivateKey:
    """A private key: modulus and private exponent."""

    modulus: int
    exponent: int

    @property
    def size_bytes(self) -> int:
        """The length of an encrypted block."""
        return (self.modulus.bit_length() + 7) // 8


def read_private_key(pem: str) -> PrivateKey:
    """Read a private key in PEM, by itself (PKCS #1) or in its envelope (PKCS #8). Raises HarnessError for anything else."""
    body = "".join(line for line in pem.splitlines() if line and not line.startswith("-----"))
    try:
        (_, fields), *_ = _items(base64.b64decode(body, validate=True))
        rows = _items(fields)
        if len(rows) > 2 and rows[1][0] == _SEQUENCE and rows[2][0] == _OCTETS:
            (_, fields), *_ = _items(rows[2][1])
            rows = _items(fields)
        numbers = [int.from_bytes(value) for tag, value in rows if tag == _INTEGER]
        return PrivateKey(numbers[1], numbers[3])
    except (binascii.Error, IndexError, ValueError):
        raise HarnessError("the private key of the monitor daemon cannot be read; it is an RSA key in PEM") from None


def _items(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each item of an ASN.1 sequence (DER)."""
    items = []
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            digits = length & 0x7F
            length, at = int.from_bytes(data[at : at + digits]), at + digits
        items.append((tag, data[at : at + length]))
        at += length
    return items


def decrypt(key: PrivateKey, data: bytes) -> bytes | None:
    """Return what was encrypted for a key, block by block; None if it was not: the daemon then takes the data as they are."""
    size = key.size_bytes
    if not data or len(data) % size:
        return None
    plain = b""
    for at in range(0, len(data), size):
        number = int.from_bytes(data[at : at + size])
        block = pow(number, key.exponent, key.modulus).to_bytes(size) if number < key.modulus else b""
        end = block.find(b"\0", 2)
        if not block.startswith(b"\0\2") or end < _PADDING_MIN_BYTES:
            return None
        plain += block[end + 1 :]
    return plain
