"""What all commands of the command line share: the consoles, the options, and how an error ends."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from onereport.results import EXIT_EVIDENCE, EXIT_INTERRUPTED, EXIT_NO_VERDICT, EXIT_USAGE
from onesim.errors import ConfigError, HarnessError, OnetckError, SpecError, TraceError
from onesim.journal import BrokenChain

out_console = Console(highlight=False, soft_wrap=True)
err_console = Console(stderr=True, highlight=False, soft_wrap=True)

ContractOption = Annotated[
    str, typer.Option("--contract", metavar="C", help="OpenNebula release: an alias such as 5.12, or an exact version. The newest if not given.")
]


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn errors into one line on stderr and the documented exit code."""
    try:
        yield
    except (ConfigError, TraceError) as error:
        stop(str(error), EXIT_USAGE)
    except BrokenChain as error:
        stop(str(error), EXIT_EVIDENCE)
    except (HarnessError, SpecError) as error:
        stop(f"no verdict: {error}", EXIT_NO_VERDICT)
    except KeyboardInterrupt:
        stop("interrupted; what was recorded is partial", EXIT_INTERRUPTED)
    except OnetckError as error:
        stop(str(error), EXIT_NO_VERDICT)
    except BrokenPipeError:
        raise
    except OSError as error:
        # a disk that fills up, or a directory that somebody takes away, in the midst of a run
        stop(f"no verdict: {error.filename or 'this machine'}: {error.strerror or error}; what was recorded is partial", EXIT_NO_VERDICT)


def stop(message: str, code: int) -> None:
    """Print one line on stderr and end with the exit code."""
    err_console.print(f"onetck: {message}", markup=False)
    raise typer.Exit(code)


def terminate_as_interrupt() -> None:
    """Have SIGTERM end a run as Ctrl-C does."""

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def write_page(path: Path, text: str, option: str) -> None:
    """Write a page to the file that an option names. Raises ConfigError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}; choose a file that can be written") from None
