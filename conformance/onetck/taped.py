"""A storage array that is not there: what a world needs to answer from a tape, by the `[array]` of onetck.toml."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from onesim.arraykit.packing import packed
from onesim.arraykit.tape import READS, Rules, Tape, TapeError
from onesim.errors import ConfigError
from onesim.layout import ExtraFile
from onesim.world.interface import Service
from onetck.config import ArrayTable

_NAME = "array-kit"
_KIT = "/opt/onetck-array/array-kit"
_TAPE = "/opt/onetck-array/tape.jsonl"
#: What worlds share with the machine.
_SHARED = ("/usr/", "/bin/", "/sbin/", "/lib/")
_PYTHON = f"/usr/bin/python3 -I -S {_KIT}"
#: Where the world keeps the requests that were not on the tape, a line each, on the front-end.
MISSES = f"/run/one/{_NAME}/misses"


def furniture(array: ArrayTable | None, base: Path) -> tuple[tuple[ExtraFile, ...], tuple[Service, ...]]:
    """Return the files and the service by which a world answers for the array. Raises ConfigError for a tape, a path or an expression that cannot be."""
    if array is None:
        return (), ()
    path = base / array.tape
    try:
        Tape(str(path), Rules(array.names, array.reads or READS))
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; correct `tape` of [array]") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: no tape of `onetck array`; correct `tape` of [array]") from None
    except TapeError as error:
        raise ConfigError(f"{error} (`tape` of [array])") from None
    except re.error as error:
        raise ConfigError(f"[array] names or reads: {error.pattern!r} is no regular expression: {error}") from None
    files = [ExtraFile(_KIT, packed(), 0o755), ExtraFile(_TAPE, data, 0o644, "frontend")]
    if array.command:
        if not array.command.startswith("/"):
            raise ConfigError(f"[array] command: an absolute path in the world, not {array.command!r}")
        if array.command.startswith(_SHARED):
            raise ConfigError(
                f"[array] command {array.command}: /usr is the machine's own and cannot be written; have the driver look in /opt, and name that path"
            )
        words = [*_PYTHON.split(), "replay", "--at", str(array.port), *(["--stdin"] if array.stdin else []), "--", array.command]
        files.append(ExtraFile(array.command, f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'.encode(), 0o755))
    rules = [word for name in array.names for word in ("--names", name)] + (["--reads", array.reads] if array.reads else [])
    words = [*_PYTHON.split(), "serve", "--tape", _TAPE, "--state", "state", "--misses", "misses", "--port", str(array.port), *rules]
    return tuple(files), (Service(_NAME, f"exec {shlex.join(words)}", f"exec 3<>/dev/tcp/127.0.0.1/{array.port}", 30.0),)
