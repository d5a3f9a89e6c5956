"""The command line. Every error ends in one line and a documented exit code; no traceback reaches the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from onereport.results import EXIT_INTERRUPTED, EXIT_NO_VERDICT, EXIT_USAGE
from onesim import __version__
from onetck.terminal import err_console, out_console

#: The modules of the commands, in the order of the help. Only that of the command that is asked for is loaded: together they take half a second.
_COMMANDS = {
    "running": ("run",),
    "surroundings": ("doctor", "config"),
    "keeping": ("call", "dump", "shell", "down"),
    "reading": ("spec", "explain", "validate", "script"),
    "tracing": ("trace",),
    "replaying": ("replay",),
    "exploration": ("explore",),
    "recording": ("record",),
    "importing": ("import",),
    "arraying": ("array",),
    "watching": ("watch",),
    "campaign.command": ("campaign",),
    "rendering": ("report",),
    "oracle": ("oracle",),
    "programs": ("mad",),
    "vendor": ("init", "statement"),
    "waiving": ("waive",),
    "static": ("lint", "port"),
    "selftest.command": ("selftest",),
    "comparing": ("diff",),
    "evidencing": ("bundle", "verify", "schema"),
    "hosts": ("hosts",),
}
# what typer raises for wrong words on the command line: the base of BadParameter and its like
_CommandLineError: Any = typer.BadParameter.__mro__[2]


def application(words: Sequence[str] = ()) -> typer.Typer:
    """Return the application: with the command that the words begin with, or with all commands where they begin otherwise, as for the help."""
    app = typer.Typer(
        name="onetck",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Certify OpenNebula storage drivers on hosts that are made for the run.",
    )
    app.callback()(common)
    asked = [module for module, names in _COMMANDS.items() if words and words[0] in names]
    for module in asked or ([] if words[:1] == ["--version"] else _COMMANDS):
        import_module(f"onetck.{module}").register(app)
    return app


def _version(value: bool) -> None:
    if value:
        out_console.print(f"onetck {__version__}")
        raise typer.Exit


def common(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Certify OpenNebula storage drivers on hosts that are made for the run."""


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Usage errors of the command line exit with 4, as documented."""
    words = sys.argv[1:] if arguments is None else arguments
    command = typer.main.get_command(application(words))
    try:
        code = command.main(args=words or ["--help"], prog_name="onetck", standalone_mode=False)
    except _CommandLineError as error:
        err_console.print(f"onetck: {error.format_message()}; see `onetck --help`", markup=False)
        sys.exit(EXIT_USAGE)
    except typer.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_NO_VERDICT)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
