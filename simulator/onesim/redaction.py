"""What no record of a run holds: secrets are replaced before anything is written down, by the rows of `spec/secrets.toml`.

Two ways. The values of known secrets (datastore templates, `[secret]` of the vendor's description) are replaced in every text: plain, as XML, URLs, JSON and shells
write them, within base64, and within base64 in that. Secrets that nobody has named are looked for in the arguments of commands, by options, headers and names.
One value has one word everywhere: what is judged by it is judged all the same.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import chain
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import msgspec

from onesim.records import MadLine
from onesim.rows import Row

MARK = "REDACTED-"
#: A shorter value would be found in texts that have nothing to do with it; it is replaced only behind its name.
SHORTEST = 4
#: Fields that are cut at some length, of which the least is this one: perhaps in the midst of a secret.
_CUT, _CUT_CHARS = ("line", "text"), 200
#: Fields whose bytes have been through `data` before they became a record.
_BLOBS = ("stdin", "stdout", "stderr", "payload", "text")
#: Fields that hold names of ours, never what a driver or a user gave.
_OURS = frozenset(
    [
        "record",
        "case",
        "family",
        "action",
        "op",
        "object",
        "state",
        "kind",
        "change",
        "fields",
        "ended_by",
        "outcome",
        "act",
        "what",
        "schema",
        "expects",
        "gates",
        "digest",
        "sha256",
        "answer_sha256",
        "spec_sha256",
        "driver_sha256",
        "tool_sha256",
        "normal_sha256",
    ]
)
#: The two alphabets of base64, in lines or not.
_BASE64 = (re.compile(rb"[A-Za-z0-9+/]{8,}(?:\r?\n[A-Za-z0-9+/]{2,})*={0,2}"), re.compile(rb"[A-Za-z0-9_-]{8,}={0,2}"))
_UNPACKED_MAX = 1 << 20
_NESTED_MAX = 3
#: What is packed by zlib and encoded begins so.
_PACKED = re.compile(rb"(?<![A-Za-z0-9+/])e[AFJN][A-Za-z0-9+/]{6}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = re.compile(r"(\s+)")
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)", re.IGNORECASE)
_NAME = r"(?<![\w.-])(?:{})(?![\w.-])"
_VALUE = r"""(["']?\s*(?:=|:(?!//))\s*)(?:"([^"]*)"|'([^']*)'|([^\s,;&"'}]+))"""


class Option(Row, frozen=True):
    """Words of a command line after which a secret stands."""

    commands: tuple[str, ...]
    names: tuple[str, ...]
    glued: bool = False
    after: str = ""


class SecretTables(Row, frozen=True):
    """The whole table."""

    attribute: tuple[str, ...]
    except_: tuple[str, ...] = msgspec.field(name="except")
    option: tuple[Option, ...]
    header: tuple[str, ...]

    def names(self, name: str) -> bool:
        """Whether what has this name is a secret."""
        upper = name.upper()
        return any(fnmatchcase(upper, row) for row in self.attribute) and not any(fnmatchcase(upper, row) for row in self.except_)


class Redaction:
    """Replaces the secrets of a run. `secrets` are known values by name; of several with one name the later ones are given by other names."""

    def __init__(self, tables: SecretTables, secrets: Iterable[tuple[str, str]] = ()) -> None:
        self.tables = tables
        self._words: dict[str, str] = {}
        self._named: dict[str, str] = {}
        taken: dict[str, int] = {}
        for name, value in secrets:
            if not value or value in self._words or value in self._named:
                continue
            taken[name] = taken.get(name, 0) + 1
            word = f"{MARK}{name}" + (f"-{taken[name]}" if taken[name] > 1 else "")
            if len(value) >= SHORTEST:
                self._words[value] = word
            else:
                self._named[value] = name

    @cached_property
    def _forms(self) -> dict[bytes, bytes]:
        """The forms in which a value may stand in a text, each with the word for it."""
        found: dict[bytes, bytes] = {}
        for value, word in self._words.items():
            shell = shlex.quote(value)
            xml = (escape(value), escape(value, {'"': "&quot;", "'": "&apos;"}))
            shells = (shell[1:-1] if shell != value else value, re.sub(r"([^\w@%+=:,./-])", r"\\\1", value))
            texts = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""), quote(value))
            for form in (value, *xml, *shells, *texts):
                found.setdefault(form.encode(), word.encode())
        return found

    @cached_property
    def _pattern(self) -> re.Pattern[bytes] | None:
        forms = sorted(self._forms, key=len, reverse=True)
        return re.compile(b"|".join(map(re.escape, forms))) if forms else None

    @cached_property
    def _short(self) -> re.Pattern[bytes] | None:
        """A short value behind its name: an XML element, or an assignment."""
        rows = [
            rf"(<{name}>(?:<!\[CDATA\[)?|{name}['\"]?\s*[:=]\s*['\"]?){re.escape(value)}(?=\]\]>|</|['\"\s,]|$)".encode()
            for value, name in ((escape(value), re.escape(name)) for value, name in self._named.items())
        ]
        return re.compile(b"|".join(rows)) if rows else None

    def data(self, data: bytes, *, cut: bool = False) -> bytes:
        """Return bytes without the values of known secrets. `cut` = they end where somebody has cut them, perhaps in the midst of a secret."""
        if self._pattern is None and self._short is None:
            return data
        return self._without_end(self._replaced(data, 0, cut=True)) if cut else self._replaced(data, 0)

    def _replaced(self, data: bytes, depth: int, *, cut: bool = False) -> bytes:
        if self._pattern is not None:
            data = self._pattern.sub(lambda found: self._forms[found.group()], data)
        if self._short is not None:
            data = self._short.sub(lambda found: next(one for one in found.groups() if one is not None) + MARK.encode() + b"VALUE", data)
        if depth < _NESTED_MAX and (cut or self._suspected(data)):
            for alphabet in _BASE64:
                data = alphabet.sub(lambda found: self._opened(found.group(), depth, cut=cut), data)
        return data

    def _suspected(self, data: bytes) -> bool:
        """Whether bytes may hold a secret within base64: a piece of what it would be there, or something that zlib has packed."""
        lines = data.translate(None, b"\r\n").translate(_URL_SAFE)
        return any(piece in lines for piece in self._pieces) or _PACKED.search(data) is not None

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        """What of a secret, and of the forms of its name, is the same in base64 whatever stands around it; and of that in base64 again."""
        found = layer = [*self._forms, *(name.encode() for name in self._named.values())]
        for _ in range(_NESTED_MAX):
            layer = [_piece(one, before) for one in layer for before in range(3)]
            found = [*found, *layer]
        return tuple(dict.fromkeys(piece for piece in found[len(self._forms) + len(self._named) :] if piece))

    def _opened(self, text: bytes, depth: int, *, cut: bool) -> bytes:
        """Return base64 with what it holds redacted; as it is, byte for byte, if that holds nothing secret. It may begin behind other letters."""
        plain = b"".join(text.split()).replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
        for start in range(4):
            coded = plain[start:]
            coded = coded[: len(coded) - (len(coded) % 4 == 1)]
            decoded = base64.b64decode(coded + b"=" * (-len(coded) % 4))
            unpacked = _unpacked(decoded)
            clean = self._without_end(self._replaced(unpacked or decoded, depth + 1, cut=cut))
            if clean != (unpacked or decoded):
                return text[:start] + base64.b64encode(zlib.compress(clean) if unpacked else clean)
        return text

    def _without_end(self, data: bytes) -> bytes:
        """Return bytes that do not end with the beginning of a secret."""
        for form, word in self._forms.items():
            for length in range(len(form) - 1, SHORTEST - 1, -1):
                if data.endswith(form[:length]):
                    return data[:-length] + word
        return data

    def text(self, text: str, *, cut: bool = False) -> str:
        """Return a text without the values of known secrets. `cut` = it may have been cut in the midst of one."""
        return self.data(text.encode(errors="surrogatepass"), cut=cut).decode(errors="surrogatepass")

    def named(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return attributes or variables, those that are secret by their name replaced, and known values in the others."""
        return {name: f"{MARK}{name}" if self.secret(name) and value else self.text(value) for name, value in values.items()}

    def secret(self, name: str) -> bool:
        """Whether what has this name is a secret: by the table, or because a known secret has it."""
        return self.tables.names(name) or name in self._named.values() or any(word == f"{MARK}{name}" for word in self._words.values())

    def assigned(self, text: str) -> str:
        """Return a text, such as a configuration file, without known values and without what stands behind the name of a secret."""

        def strike(found: re.Match[str]) -> str:
            name, between, *values = found.groups()
            value = next((one for one in values if one is not None), "")
            if not value or not self.secret(name) or value.startswith((MARK, "$")):
                return found.group()
            mark = "" if values[2] is not None else found.group()[-1]
            return f"{name}{between}{mark}{MARK}{name}{mark}"

        return self._assignment.sub(strike, self.text(text))

    @cached_property
    def _assignment(self) -> re.Pattern[str]:
        known = {word.removeprefix(MARK) for word in self._words.values()} | set(self._named.values())
        names = [re.escape(name).replace(r"\*", r"[\w.-]*") for name in (*self.tables.attribute, *sorted(known))]
        return re.compile(f"({_NAME.format('|'.join(names))}){_VALUE}", re.IGNORECASE)

    def values(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the secrets that a configuration file sets, by name."""
        for name, _, *values in (found.groups() for found in self._assignment.finditer(text)):
            value = next((one for one in values if one is not None), "")
            if self.tables.names(name) and not value.startswith("$"):
                yield name, value

    def argv(self, words: Sequence[str], name: str = "") -> tuple[str, ...]:
        """Return the words of a command line without secrets, known or not. `name` is the command's, if it is not the first word.

        A word that holds blanks may be a command line itself, for a shell or a host.
        """
        parts = [_BLANKS.split(self._header.sub(_header, self.text(word))) for word in words]
        commands = {part.rstrip("/").rpartition("/")[2] for part in (name, *chain.from_iterable(parts)) if part}
        options = [row for row in self.tables.option if "*" in row.commands or commands & set(row.commands)]
        follows: tuple[str, Option] | None = None
        clean = []
        for word in parts:
            for n, part in enumerate(word):
                if part.strip() and follows is not None:
                    word[n], follows = _struck(part, *follows), None
                elif part.strip():
                    follows, word[n] = _option(part, options)
            clean.append(self.assigned(_USERINFO.sub(_userinfo, "".join(word))))
        return tuple(clean)

    @cached_property
    def _header(self) -> re.Pattern[str]:
        names = "|".join(re.escape(name).replace(r"\*", r"[\w-]*") for name in self.tables.header)
        return re.compile(rf"""(?<![\w-])({names})(\s*:\s*)([^"'\n]+)""", re.IGNORECASE)

    def record(self, record: msgspec.Struct) -> bytes:
        """Return a record as JSON, without secrets. What lies beside the log, or would if it were longer, has lost them already."""
        encoded = msgspec.json.encode(record)
        known = self._known(encoded.replace(b"\\n", b""))
        if not known and not _with_words(record) and not isinstance(record, MadLine):
            return encoded
        return msgspec.json.encode(self._walk(msgspec.to_builtins(record), known))

    def _known(self, data: bytes) -> bool:
        """Whether known secrets may stand in bytes."""
        return any(one is not None and one.search(data) for one in (self._pattern, self._short)) or self._suspected(data)

    def _walk(self, value: Any, known: bool, key: str = "") -> Any:
        if isinstance(value, str):
            cut = key in _CUT and len(value) >= _CUT_CHARS
            return self.text(value, cut=cut) if key not in _OURS and (known or cut) else value
        if isinstance(value, dict):
            if key in _BLOBS:
                return value
            found = {name: self._walk(one, known, name) for name, one in value.items()}
            for name in ("argv", "command"):
                words = value.get(name)
                if isinstance(words, list | tuple) and not isinstance(value.get("script"), str):
                    found[name] = self.argv(words, str(value.get("name", "")))
            if isinstance(value.get("secrets"), str):
                found["secrets"] = "\n".join(line for line in found["secrets"].split("\n") if len(line) >= SHORTEST)
            return found
        if isinstance(value, list | tuple):
            return [self._walk(one, known, key) for one in value]
        return value


def _piece(data: bytes, before: int) -> bytes:
    """Return the letters that data is in base64, if so many bytes stand before it, but for those that depend on these and on what follows."""
    return base64.b64encode(bytes(before) + data)[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]


def _with_words(record: msgspec.Struct) -> bool:
    """Whether a record holds the arguments of commands, in which secrets are looked for that nobody has named."""
    return bool(getattr(record, "commands", ())) or (hasattr(record, "command") and not isinstance(record.command, str)) or hasattr(record, "argv")


def _option(word: str, options: Iterable[Option]) -> tuple[tuple[str, Option] | None, str]:
    """Return the option that a word is, if a secret follows it, and the word without the secret that it holds itself."""
    for row in options:
        for name in row.names:
            if word == name:
                return (name.lstrip("-"), row), word
            if word.startswith(f"{name}="):
                return None, f"{name}={_struck(word[len(name) + 1 :], name.lstrip('-'), row)}"
            if row.glued and not name.startswith("--") and word.startswith(name):
                return None, f"{name}{_struck(word[len(name) :], name.lstrip('-'), row)}"
    return None, word


def _unpacked(data: bytes) -> bytes:
    """Return what zlib has packed, as messages to the monitor daemon are; empty if the bytes are no such thing."""
    try:
        return zlib.decompressobj().decompress(data, _UNPACKED_MAX) if data[:1] == b"x" else b""
    except zlib.error:
        return b""


def _header(found: re.Match[str]) -> str:
    return found.group() if MARK in found[3] else f"{found[1]}{found[2]}{MARK}{found[1]}"


def _struck(value: str, name: str, row: Option) -> str:
    if not value or MARK in value:
        return value
    if row.after:
        kept, mark, rest = value.partition(row.after)
        return f"{kept}{mark}{MARK}{name}" if rest else value
    return f"{MARK}{name}"


def _userinfo(found: re.Match[str]) -> str:
    return found.group() if MARK in found[2] else f"{found[1]}{MARK}userinfo"
