"""What virsh prints: plain text, text that --quiet leaves out, errors, and tables."""

from __future__ import annotations

from collections.abc import Sequence


class Printer:
    """Collects stdout and stderr of a command line."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.out: list[str] = []
        self.err: list[str] = []

    def print(self, text: str) -> None:
        """Print a result."""
        self.out.append(text)

    def say(self, text: str) -> None:
        """Print what --quiet leaves out."""
        if not self.quiet:
            self.out.append(text)

    def error(self, *lines: str) -> None:
        """Print errors."""
        self.err += [f"error: {line}\n" for line in lines]

    def progress(self, label: str) -> None:
        """Print that a job has come to its end."""
        self.err.append(f"\r{label}: [100 %]")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; --quiet leaves its head out."""
        shown = rows if self.quiet else [header, *rows]
        if not shown:
            return
        widths = [max(len(row[column]) for row in shown) for column in range(len(header))]
        lines = []
        for row in shown:
            cells = [cell.ljust(widths[column]) if column + 1 < len(row) else cell for column, cell in enumerate(row)]
            lines.append(" " + "   ".join(cells))
        if not self.quiet:
            lines.insert(1, "-" * (sum(widths) + 3 * len(widths)))
        self.print("\n".join(lines) + "\n")

    def facts(self, rows: Sequence[tuple[str, str]], width: int = 16) -> None:
        """Print names and values, one a line."""
        self.print("".join(f"{name + ':':<{width}}{value}\n" for name, value in rows))


def human(size: int, digits: int = 2) -> str:
    """Return a size as `vol-info` prints it: 8.00 MiB."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.{digits}f} {unit}"
