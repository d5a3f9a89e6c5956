"""Rules on a fragment of oned.conf: that it is what oned reads, and that it fits the driver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from onereport.spec_tables import Attribute, documents
from onesim import grammars
from onesim.errors import ConfigError
from onesim.grammar_values import Template, Vector
from onetck.config import Config, TmConfTable
from onetck.lint.findings import Finding, Rules
from onetck.lint.sources import Sources
from onetck.oned_conf import differences

#: In attributes.toml: one attribute for each name in TM_MAD_SYSTEM.
_EACH_MODE = "_X"
#: The programs of oned.conf, and for each option that lists drivers, which of the driver's it must name.
_LISTS: dict[str, dict[str, tuple[str, ...]]] = {"TM_MAD": {"-d": ("tm", "system")}, "DATASTORE_MAD": {"-d": ("datastore",), "-s": ("system",)}}


class Fragment:
    """A fragment as it was read. Raises ConfigError if there is no such file."""

    def __init__(self, path: Path, version: str) -> None:
        self.name = str(path)
        try:
            self.text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give the file of oned.conf's lines with --oned-conf") from None
        read = grammars.parse("template", self.text, version)
        self.problems = read if isinstance(read, list) else []
        self.template = read if isinstance(read, Template) else Template()

    def vectors(self, name: str) -> list[tuple[Vector, int]]:
        """Return the vectors of a name with their lines."""
        lines = [self._line(match.start(1)) for match in re.finditer(rf"^[ \t]*({name})[ \t]*=", self.text, re.MULTILINE | re.IGNORECASE)]
        found = self.template.vectors(name)
        return list(zip(found, lines + [0] * len(found), strict=False))

    def line_of(self, attribute: str, start: int) -> int:
        """Return the line of an attribute of the vector that begins at a line."""
        at = sum(len(line) + 1 for line in self.text.split("\n")[: max(start - 1, 0)])
        found = re.compile(rf"\b{re.escape(attribute)}\b[ \t]*=", re.IGNORECASE).search(self.text, at)
        return self._line(found.start()) if found else start

    def _line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1


def check_fragment(fragment: Fragment, sources: Sources, rules: Rules, config: Config) -> Iterator[Finding]:
    """Yield what is wrong with a fragment, and where it and the driver or its description disagree."""
    for problem in fragment.problems:
        yield rules.found("conf_text", fragment.name, problem.line or 1, f"{problem.path}: {problem.message}")
    if fragment.problems:
        return
    driver = sources.driver
    yield from _rows(fragment, "DS_MAD_CONF", [driver.datastore_mad], sources, rules)
    yield from _rows(fragment, "TM_MAD_CONF", list(dict.fromkeys((driver.tm_mad, driver.system_tm_mad))), sources, rules)
    for row, line in fragment.vectors("TM_MAD_CONF"):
        name = row.values.get("NAME", "")
        if name in (driver.tm_mad, driver.system_tm_mad):
            yield from _modes(fragment, row, line, sources, rules)
            if name in config.tm_mad_conf:
                yield from _differs(fragment, row, line, config.tm_mad_conf[name], rules)
    yield from _lists(fragment, sources, rules)


def _rows(fragment: Fragment, table: str, names: list[str], sources: Sources, rules: Rules) -> Iterator[Finding]:
    known = {row.name: row for row in documents(sources.spec.spec).attributes if row.where == table and sources.spec.holds(row.since, row.until)}
    rows = fragment.vectors(table)
    for name in names:
        mine = [(row, line) for row, line in rows if row.values.get("NAME") == name]
        if not mine:
            yield rules.found("conf_row", fragment.name, 0, f"there is no {table} with NAME = {name}")
        for row, line in mine:
            for attribute, value in row.values.items():
                yield from _value(fragment, table, attribute, value, fragment.line_of(attribute, line), known, _modes_of(row), rules)
            if table == "DS_MAD_CONF":
                yield from _demanded(fragment, row, line, sources, rules)


def _value(
    fragment: Fragment, table: str, attribute: str, value: str, line: int, known: dict[str, Attribute], modes: list[str], rules: Rules
) -> Iterator[Finding]:
    general = next((f"{attribute.removesuffix('_' + mode.upper())}{_EACH_MODE}" for mode in modes if attribute.endswith(f"_{mode.upper()}")), "")
    row = known.get(attribute) or known.get(general)
    if row is None:
        yield rules.found("conf_unknown", fragment.name, line, f"{attribute} is no attribute of {table}")
    elif row.values and not {word.strip().upper() for word in value.split(",")} <= {word.upper() for word in row.values}:
        yield rules.found("conf_value", fragment.name, line, f"{attribute} is {value or 'empty'}; it is one of {', '.join(row.values)}")


def _modes_of(row: Vector) -> list[str]:
    return [word.strip() for word in row.values.get("TM_MAD_SYSTEM", "").split(",") if word.strip()]


def _modes(fragment: Fragment, row: Vector, line: int, sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Every mode has its attributes; where it has no scripts of its own, that is said."""
    attributes = documents(sources.spec.spec).attributes
    per_mode = [one.name.removesuffix(_EACH_MODE) for one in attributes if one.where == "TM_MAD_CONF" and one.name.endswith(_EACH_MODE)]
    at = fragment.line_of("TM_MAD_SYSTEM", line)
    suffixed = {script.mode for script in sources.entries}
    for mode in _modes_of(row):
        for name in per_mode:
            if f"{name}_{mode.upper()}" not in row.values:
                yield rules.found("conf_mode", fragment.name, at, f"TM_MAD_SYSTEM has {mode}, but there is no {name}_{mode.upper()}")
        if mode not in suffixed:
            yield rules.found(
                "conf_fallback", fragment.name, at, f"no script of tm/{row.values.get('NAME')} is for the mode {mode} alone (clone.{mode})"
            )


def _differs(fragment: Fragment, row: Vector, line: int, described: TmConfTable, rules: Rules) -> Iterator[Finding]:
    for attribute, ours, theirs in differences(row.values, described):
        yield rules.found("conf_differs", fragment.name, fragment.line_of(attribute, line), f"{attribute} is {theirs} here and {ours} in onetck.toml")


def _demanded(fragment: Fragment, row: Vector, line: int, sources: Sources, rules: Rules) -> Iterator[Finding]:
    """The actions that MARKETPLACE_ACTIONS promises are there."""
    for action in (word.strip() for word in row.values.get("MARKETPLACE_ACTIONS", "").split(",") if word.strip()):
        if not sources.driver_has(f"ds/{action}"):
            at = fragment.line_of("MARKETPLACE_ACTIONS", line)
            yield rules.found(
                "missing", fragment.name, at, f"MARKETPLACE_ACTIONS promises {action}, but there is no datastore/{row.values['NAME']}/{action}"
            )


def _lists(fragment: Fragment, sources: Sources, rules: Rules) -> Iterator[Finding]:
    own = sources.driver
    named = {"tm": own.tm_mad, "system": own.system_tm_mad, "datastore": own.datastore_mad}
    for program, options in _LISTS.items():
        rows = fragment.vectors(program)
        for option, wanted in options.items():
            names = list(dict.fromkeys(named[what] for what in wanted))
            if not rows:
                yield rules.found("conf_unsaid", fragment.name, 0, f"{', '.join(names)} must stand in the list {option} of {program}")
                continue
            row, line = rows[0]
            found = re.search(rf"(?:^|\s){option}[ \t=]*(\S+)", row.values.get("ARGUMENTS", ""))
            listed = found.group(1).split(",") if found else []
            # without a list every driver of the tree may run
            if found or option == "-s":
                for name in (name for name in names if name not in listed):
                    at = fragment.line_of("ARGUMENTS", line)
                    yield rules.found(
                        "conf_list", fragment.name, at, f"{name} is not in the list {option} of {program}: {','.join(listed) or 'empty'}"
                    )
