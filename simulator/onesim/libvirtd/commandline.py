"""The command line of virsh: options of its own, then one command, or several parted by semicolons. By the table `spec/virsh.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import msgspec
import tomli

from onesim.data import data_dir
from onesim.errors import SpecError

_GLOBAL_WITH_VALUE = {
    "-c": "connect",
    "--connect": "connect",
    "-d": "debug",
    "--debug": "debug",
    "-l": "log",
    "--log": "log",
    "-e": "escape",
    "--escape": "escape",
}
_GLOBAL_WITH_VALUE |= {
    "-k": "keepalive-interval",
    "--keepalive-interval": "keepalive-interval",
    "-K": "keepalive-count",
    "--keepalive-count": "keepalive-count",
}
_GLOBAL_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "-r": "readonly",
    "--readonly": "readonly",
    "-t": "timing",
    "--timing": "timing",
    "--no-pkttyagent": "",
    "-v": "version",
}
_GLOBAL_FLAGS |= {"--version": "version", "-V": "version", "-h": "help", "--help": "help"}


class Wrong(Exception):
    """A command line that virsh does not take; the text is what it prints behind `error: `."""


@dataclass(frozen=True)
class Option:
    """An option. `kind` is flag, text, number or words; `named` = it is taken by its name alone; `means` = it is another name: the option and its value."""

    name: str
    kind: str
    needed: bool = False
    named: bool = False
    means: str = ""


@dataclass(frozen=True)
class Command:
    """A command as given: flags hold an empty text, an option with several words a list."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """Whether an option is there."""
        return name in self.options

    def get(self, name: str, other: str = "") -> str:
        """Return the text of an option."""
        return self.options.get(name, other)


@dataclass(frozen=True)
class Line:
    """A whole command line. `uri` is empty where none is given."""

    uri: str = ""
    quiet: bool = False
    readonly: bool = False
    asks: str = ""
    texts: tuple[tuple[str, ...], ...] = ()


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    options: tuple[str, ...]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    others: tuple[str, ...]
    command: tuple[_Row, ...]


def _option(word: str) -> Option:
    if ">" in word:
        name, _, means = word.partition(">")
        return Option(name, "flag", means=means)
    named, needed = word.startswith("-"), word.endswith("!")
    bare = word.lstrip("-").rstrip("!")
    kind = {"=": "text", "#": "number", "*": "words"}.get(bare[-1], "flag")
    return Option(bare.rstrip("=#*"), kind, needed, named)


@cache
def commands() -> dict[str, tuple[Option, ...]]:
    """Return the options of every command by its name; those that are not carried out have none."""
    path = data_dir("spec") / "virsh.toml"
    try:
        table = msgspec.convert(tomli.loads(path.read_text(encoding="utf-8")), _Table)
    except (OSError, tomli.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error
    known = {row.name: tuple(_option(word) for word in row.options) for row in table.command}
    twice = known.keys() & set(table.others)
    if twice:
        raise SpecError(f"{path}: others: {min(twice)} has a row of its own; remove one of the two")
    return known


@cache
def others() -> frozenset[str]:
    """Return the commands of virsh that are not carried out."""
    commands()
    return frozenset(msgspec.convert(tomli.loads((data_dir("spec") / "virsh.toml").read_text(encoding="utf-8")), _Table).others)


def read(argv: tuple[str, ...]) -> Line:
    """Read the words behind `virsh`. Raises Wrong."""
    given: dict[str, str] = {}
    at = 0
    while at < len(argv) and argv[at].startswith("-") and argv[at] != "-":
        word, equals, value = argv[at].partition("=")
        if word in _GLOBAL_FLAGS and not equals:
            given[_GLOBAL_FLAGS[word]] = ""
        elif word in _GLOBAL_WITH_VALUE:
            if not equals:
                at += 1
                if at >= len(argv):
                    raise Wrong(_lacking(word))
                value = argv[at]
            given[_GLOBAL_WITH_VALUE[word]] = value
        else:
            raise Wrong(f"unsupported option '{argv[at]}'. See --help.")
        at += 1
    rest = argv[at:]
    # one word may hold a whole line, as in a shell; several words are one command
    texts = tuple(_split(rest[0])) if len(rest) == 1 else (rest,) if rest else ()
    asks = "version" if "version" in given else "help" if "help" in given else ""
    return Line(given.get("connect", ""), "quiet" in given, "readonly" in given, asks, texts)


def _lacking(word: str) -> str:
    name = _GLOBAL_WITH_VALUE[word]
    short = next(one for one, other in _GLOBAL_WITH_VALUE.items() if other == name and len(one) == 2)
    return f"option '{short}'/'--{name}' requires an argument"


def _split(text: str) -> list[tuple[str, ...]]:
    """Split a line into commands and words: quotes and backslashes as in a shell, semicolons and line ends between commands, # to the end of a line."""
    found: list[list[str]] = [[]]
    word: list[str] | None = None
    quote = ""
    rest = iter(text)
    for letter in rest:
        if quote:
            if letter == quote:
                quote = ""
            elif letter == "\\" and quote == '"':
                word = [*(word or []), next(rest, "")]
            else:
                word = [*(word or []), letter]
        elif letter in "'\"":
            quote, word = letter, word or []
        elif letter == "\\":
            word = [*(word or []), next(rest, "")]
        elif letter in " \t;\n":
            if word is not None:
                found[-1].append("".join(word))
                word = None
            if letter in ";\n":
                found.append([])
        else:
            word = [*(word or []), letter]
    if quote:
        raise Wrong(f"missing {quote}" if quote == "'" else 'missing "')
    if word is not None:
        found[-1].append("".join(word))
    return [tuple(one) for one in found if one]


def parse(words: tuple[str, ...]) -> Command:
    """Read one command. Raises Wrong."""
    name = words[0]
    if name in others():
        raise Wrong(f"the simulated virsh does not carry out '{name}'")
    if name not in commands():
        raise Wrong(f"unknown command: '{name}'")
    options = {one.name: one for one in commands()[name]}
    places = [one for one in options.values() if one.kind != "flag" and not one.named]
    command = Command(name)
    rest = iter(words[1:])
    closed = False
    for word in rest:
        if word == "--" and not closed:
            closed = True
        elif word.startswith("--") and len(word) > 2 and not closed:
            title, equals, value = word[2:].partition("=")
            found = options.get(title)
            if found is None:
                raise Wrong(f"command '{name}' doesn't support option --{title}")
            if found.means:
                title, _, value = found.means.partition("=")
                found, equals = options[title], "="
            if found.kind == "flag":
                if equals:
                    raise Wrong(f"invalid '=' after option --{title}")
                value = ""
            elif not equals:
                after = next(rest, None)
                if after is None:
                    raise Wrong(f"expected syntax: --{title} <{'number' if found.kind == 'number' else 'string'}>")
                value = after
            _take(command, found, value)
        else:
            place = next((one for one in places if one.kind == "words" or one.name not in command.options), None)
            if place is None:
                raise Wrong(f"unexpected data '{word}'")
            _take(command, place, word)
    for one in options.values():
        if one.needed and one.name not in command.options:
            raise Wrong(
                f"command '{name}' requires <{one.name}> option" if one.kind != "number" else f"command '{name}' requires --{one.name} option"
            )
    return command


def _take(command: Command, option: Option, value: str) -> None:
    if option.kind == "words":
        command.words.setdefault(option.name, []).append(value)
    elif option.name in command.options:
        raise Wrong(f"option --{option.name} already seen")
    command.options[option.name] = value
