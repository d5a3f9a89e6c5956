"""The command `onetck diff`: two runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onesim.errors import ConfigError
from onetck.terminal import one_line, out_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="diff")(diff)


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The directory of a run.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="That of a later run, of another version of the driver, or under another contract.")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.", show_default=False)] = None,
    slower: Annotated[float, typer.Option("--slower", metavar="F", help="An action is slower if its median has grown by this factor.")] = 1.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what differs between two runs: newly failing, fixed, flaky, slower, changed calls and arguments. Exit status 1 if B is worse, else 0.

    Worse is: a requirement that fails newly, is flaky, or is no longer known to pass.
    """
    with one_line():
        from onereport.comparison import compare
        from onereport.difftext import render_diff

        found = compare(before, after, slower)
        if html is not None:
            from onereport.diffpage import render_diff_page

            try:
                html.write_text(render_diff_page(found), encoding="utf-8")
            except OSError as error:
                raise ConfigError(f"--html {html}: {error.strerror}; choose another file") from None
        if as_json:
            sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        else:
            render_diff(found, out_console)
        raise typer.Exit(found.exit_code)
