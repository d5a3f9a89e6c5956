"""The steps between a tree and its record that no grammar can express: base64 and zlib, paths that fit a protocol, statuses that fit a message.

Each is named in the column `build` of `schemas/grammars.toml`. A text that has the form but not the meaning becomes a Problem, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from onesim import datagrams, template_syntax
from onesim.grammar_trees import Context, children, position, texts
from onesim.grammar_values import BackupUrl, Datagram, Download, ErrorBlock, Link, Location, LogLine, MadAnswer, Stderr
from onesim.parsers import error_whole

if TYPE_CHECKING:
    from lark import Token, Tree

    from onesim.grammar_trees import Answer


def datagram(tree: Tree[Token], context: Context) -> Answer:
    """A message to the monitor daemon, in clear; what it inflates to is bounded."""
    tokens = texts(tree)
    (oid,), (seconds,) = ([int(str(node.children[0])) for node in children(tree, name)] for name in ("oid", "timestamp_s"))
    content = datagrams.unwrapped(tokens["PAYLOAD"])
    text = datagrams.in_words(content) if isinstance(content, bytes) else content
    if isinstance(text, datagrams.Unreadable):
        return context.wrong(text.what, text.remedy, position(tree, "PAYLOAD"))
    return Datagram(tokens["KIND"], tokens["STATUS"], oid, seconds, text)


def backup_url(tree: Tree[Token], context: Context) -> Answer:
    """A disk in a backup whose path fits the protocol."""
    numbers = {str(node.data): int(str(node.children[0])) for name in ("datastore", "job") for node in children(tree, name)}
    tokens = texts(tree)
    protocol, path = tokens.get("PROTOCOL_RBD") or tokens["PROTOCOL"], tokens["PATH"]
    links = [texts(link) for link in children(tree, "chain")]
    # both kinds of a protocol have the same paths
    rule = context.paths[protocol.removesuffix("+rbd")].replace("{datastore}", str(numbers["datastore"]))
    fits = re.search(rule, path)
    if fits is None:
        what = f"the path {path} does not tell the VM and the disk of {protocol}"
        return context.wrong(what, f"write a path that ends like {_shown(rule)}", position(tree, "PATH"))
    chain = tuple(Link(int(link["INT"]), link["SNAPSHOT"]) for link in links)
    return BackupUrl(protocol, numbers["datastore"], numbers.get("job"), chain, path, int(fits["vm"]), fits["disk"])


def _shown(rule: str) -> str:
    return rule.split(r"disk\.")[0].replace("(?P<vm>[0-9]{1,18})", "VM").replace("[^/]+", "SNAPSHOT") + "disk.N"


def download(tree: Tree[Token], context: Context) -> Answer:
    """What an image is fetched from; a scheme that the release does not know makes a path."""
    node = cast("Any", tree.children[0])
    if not hasattr(node, "data"):
        return Download("path", str(node))
    tokens = node.children
    scheme = str(tokens[0])
    if scheme not in context.schemes:
        return Download("path", context.text)
    parts = {str(child.data): str(child.children[0]) for child in tokens[1:] if hasattr(child, "data")}
    rest = context.text.removeprefix(f"{scheme}://")
    if scheme in ("ssh", "rbd"):
        rest = rest.removeprefix(f"{parts['user']}@" if "user" in parts else "").removeprefix(parts["host"])[1:]
    return Download(scheme, rest, parts.get("user", ""), parts.get("host", ""))


_DISK_PATH = re.compile(
    r"(?:/(?P<datastore>[0-9]{1,18})/+(?P<vm>[0-9]{1,18}))?/+(?:disk\.(?P<disk>[0-9]{1,18})(?:\.snap(?:/(?P<snapshot>[0-9]{1,18}))?)?|kernel|initrd)?$"
)


def location(tree: Tree[Token], context: Context) -> Answer:
    """An argument host:path with what its path tells."""
    kind = next(iter(child for child in cast("list[Any]", tree.children) if hasattr(child, "data")))
    role, path = str(kind.data), str(kind.children[0])
    # a directory comes without a slash at its end
    numbers = _DISK_PATH.search(path if role != "directory" else path.rstrip("/") + "/") if role not in ("file", "source") else None
    found = {name: int(text) for name, text in numbers.groupdict().items() if text is not None} if numbers else {}
    return Location(str(tree.children[0]), path, cast("Any", role), **found)


def mad_answer(tree: Tree[Token], context: Context) -> Answer:
    """A line of a driver program: a severity belongs to LOG, a result to all others."""
    tokens = texts(tree)
    action = tokens.get("LOG") or tokens["ACTION"]
    if (action == "LOG") == (tokens["STATUS"] in ("SUCCESS", "FAILURE")):
        wanted = "I, E, D or W" if action == "LOG" else "SUCCESS or FAILURE"
        return context.wrong(f"{tokens['STATUS']} is no status of {action}", f"write {wanted}", position(tree, "STATUS"))
    return MadAnswer(action, tokens["STATUS"], int(tokens["SIGNED"]) if "SIGNED" in tokens else None, tokens.get("PAYLOAD", ""))


def _object(digits: str | None) -> int:
    # as Ruby's Integer reads it: a leading zero makes it octal, and what is none is no id
    if not digits:
        return -1
    try:
        return int(digits, 8 if digits.startswith("0") else 10)
    except ValueError:
        return -1


def stderr(tree: Tree[Token], context: Context) -> Answer:
    """Log lines with their objects, and the other lines joined without separator."""
    logged = [texts(node) for node in children(tree, "logged")]
    plain = [str(child).strip() for child in tree.children if not hasattr(child, "data")]
    lines = tuple(LogLine(one["SEVERITY"].strip(), one.get("TEXT", "").strip(), _object(one.get("OBJECT"))) for one in logged)
    return Stderr(lines, "".join(plain))


def stderr_whole(tree: Tree[Token], context: Context) -> Answer:
    """Log lines; the error is the whole."""
    logged = [texts(node) for node in children(tree, "logged_plain")]
    lines = tuple(LogLine(one["SEVERITY_PLAIN"], one.get("TEXT", "").strip()) for one in logged)
    return Stderr(lines, error_whole(context.text))


def error_block(tree: Tree[Token], context: Context) -> Answer:
    """The first line of the first block, and what is lost."""
    lines = [str(token) for token in tree.scan_values(lambda child: getattr(child, "type", "") == "BLOCK")]
    return ErrorBlock(lines[0] if lines else "", tuple(lines[1:]))


STEPS: dict[str, Callable[[Tree[Token], Context], Answer]] = {
    function.__name__: function
    for function in (
        template_syntax.template,
        template_syntax.monitor,
        template_syntax.monitor_recommended,
        template_syntax.disk_sizes,
        template_syntax.vm_poll,
        template_syntax.vm_monitor,
        datagram,
        backup_url,
        download,
        location,
        mad_answer,
        stderr,
        stderr_whole,
        error_block,
    )
}
