"""What a driver has to change from one contract to another: the changes of the contracts, and the lines of the driver that rely on the old form."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from onesim.errors import ConfigError
from onesim.parsers import ERRORS, PARSERS
from onesim.spec import ContractSpec
from onetck.contract_changes import Both, Change
from onetck.lint.commands import separators
from onetck.lint.findings import Rules
from onetck.lint.inputs import Inputs, Readers
from onetck.lint.printed import printed
from onetck.lint.sources import Script, Sources
from onetck.lint.tree import role_of
from onetck.setting import Setting


class Reliance(msgspec.Struct, frozen=True):
    """A line that relies on the old form. `copes` = the script looks as if it took the new form too."""

    kind: str
    file: str
    line: int
    sentence: str
    copes: bool = False
    requirements: tuple[str, ...] = ()


class Ported(msgspec.Struct, frozen=True):
    """A script, what changes for its action, and its lines that rely on the old form. `missing` = the driver has no such script yet."""

    file: str
    action: str
    changes: tuple[Change, ...]
    lines: tuple[Reliance, ...] = ()
    missing: bool = False


class Plan(msgspec.Struct, frozen=True):
    """Everything that changes for a driver."""

    driver: str
    old: str
    new: str
    general: tuple[Change, ...]
    scripts: tuple[Ported, ...]
    elsewhere: tuple[Reliance, ...]

    @property
    def to_do(self) -> int:
        """How many lines and scripts are to be changed."""
        relying = [line for script in self.scripts for line in script.lines] + list(self.elsewhere)
        return sum(not line.copes for line in relying) + sum(script.missing for script in self.scripts)


def port(setting: Setting, old: ContractSpec) -> Plan:
    """Compare the contract `old` with that of the setting. Raises ConfigError where both are the same."""
    new = setting.spec
    if old.contract.name == new.contract.name:
        raise ConfigError(f"--from and --to are both {new.contract.name}; name two contracts")
    return _Port(setting, Both(old, new)).plan()


class _Port:
    def __init__(self, setting: Setting, both: Both) -> None:
        self.setting, self.both = setting, both
        self.rules = Rules(both.new)
        self.sources = Sources(setting.driver, both.new, shared=setting.shared)
        self.readers = Readers(self.sources)

    def plan(self) -> Plan:
        both = self.both
        scripts = [self._script(script) for script in self.sources.entries]
        scripts += self._missing()
        told = [one for one in scripts if one.changes or one.lines]
        elsewhere = [line for script in self.sources.scripts.values() if not script.action for line in self._errors(script)]
        names = (both.old.contract.name, both.new.contract.name)
        return Plan(str(self.setting.driver.root), *names, tuple(both.general()), tuple(sorted(told, key=lambda one: one.file)), tuple(elsewhere))

    def _script(self, script: Script) -> Ported:
        key = script.action
        lines: list[Reliance] = []
        if key in self.both.old.actions and key in self.both.new.actions:
            inputs = self.readers.inputs(script)
            if inputs is not None:
                lines += self._arguments(script, inputs)
                lines += self._input(script, inputs)
            lines += self._output(script)
            lines += self._elements(script)
        lines += self._errors(script)
        return Ported(script.key, key, tuple(self.both.of(key)), tuple(lines))

    def _missing(self) -> Iterator[Ported]:
        """Yield the actions that are new and that the driver's role needs, but for which there is no script."""
        for action, row in role_of(self.sources, self.both.new):
            if action.key not in self.both.old.actions and not self.sources.driver_has(action.key):
                changes = [
                    msgspec.structs.replace(one, requirements=tuple(dict.fromkeys((*one.requirements, row.id)))) for one in self.both.of(action.key)
                ]
                folder = self.sources.folders[action.family][-1]
                yield Ported(f"{folder}/{action.name}", action.key, tuple(changes), missing=True)

    def _arguments(self, script: Script, inputs: Inputs) -> Iterator[Reliance]:
        """Yield the lines that use an argument which is another one, or none, in the new contract."""
        old, new = self.both.old, self.both.new
        before, after = old.argv(old.actions[script.action]), new.argv(new.actions[script.action])
        if before == after:
            return
        # who reads standard input and also looks at the arguments decides which of the two forms it has
        copes = inputs.reads != () and old.stdin(old.actions[script.action]) != new.stdin(new.actions[script.action])
        cited = self.rules.found("document", "", 0, "").requirements if new.actions[script.action].passing else self._own(script)
        for number, line in sorted(set(inputs.positions)):
            was = before[number - 1] if number <= len(before) else ""
            now = after[number - 1] if number <= len(after) else ""
            if was and was != now:
                there = f"{now} in {self.both.after}" if now else f"there is none in {self.both.after}"
                sentence = f"uses argument {number}: {was} in {self.both.before}, {there}"
                yield Reliance("argv", script.key, line, sentence, copes, cited)

    def _input(self, script: Script, inputs: Inputs) -> Iterator[Reliance]:
        """Yield the lines that read standard input where the new contract gives nothing, or another document."""
        old, new = self.both.old, self.both.new
        was, now = old.stdin(old.actions[script.action]), new.stdin(new.actions[script.action])
        # a script that has read nothing yet has its old document among the arguments
        if was == now or not inputs.reads or was == "nothing":
            return
        carriages = new.spec.carriages
        sentence = f"reads standard input: {carriages[was].meaning} Now: {carriages[now].meaning}"
        copes = now == "nothing" and (inputs.whole or any(number > 1 for number, _ in inputs.positions))
        yield Reliance("stdin", script.key, inputs.reads[0], sentence, copes, self._own(script))

    def _output(self, script: Script) -> Iterator[Reliance]:
        """Yield the lines that print what the new contract takes for something else, as its parser tells."""
        was, now = self.both.old.parser(script.action), self.both.new.parser(script.action)
        if was == now:
            return
        good, bad = False, []
        for one in (one for one in printed(script) if not one.errors):
            (before, _), (after, wrong) = PARSERS[was](one.text), PARSERS[now](one.text)
            if wrong or any(name in after and after[name] != value for name, value in before.items()):
                bad.append(one)
            else:
                good = True
        # a script with an answer for either contract chooses between them
        for one in bad:
            sentence = f"prints {one.text!r} or the like; {self.both.after} takes {self.both.new.spec.parsers[now].takes}"
            yield Reliance("output", script.key, one.line, sentence, good, self._own(script))

    def _elements(self, script: Script) -> Iterator[Reliance]:
        """Yield the lines that name an element which the document has no more."""
        gone, come = self.both.elements(script.action)
        # who names the element that came in its place reads whichever is there
        copes = {path.partition("/")[0] for path in come if self._naming(script, path)}
        for path in sorted(gone):
            for number in self._naming(script, path):
                sentence = f"reads {path}, which {self.both.after} has not"
                yield Reliance("document", script.key, number, sentence, path.partition("/")[0] in copes, self._own(script))

    @staticmethod
    def _naming(script: Script, path: str) -> list[int]:
        """Return the lines that name an element with its parent."""
        named = re.compile(r"\b{}\b.*\b{}\b".format(*path.split("/")))
        return [number for number, line in enumerate(script.lines, 1) if named.search(line)]

    def _errors(self, script: Script) -> Iterator[Reliance]:
        """Yield the lines that print an error text which the new contract shows otherwise."""
        was, now = self.both.old.contract.error, self.both.new.contract.error
        if was == now or script.path.is_symlink():
            return
        if was == "separated":
            for number, word in separators(script, self.rules):
                cited = self.rules.found("separators", "", 0, "").requirements
                yield Reliance("error", script.key, number, f"prints {word!r}, which {self.both.after} shows to the user", requirements=cited)
            return
        for one in printed(script):
            if one.errors and ERRORS[was](one.text) and not ERRORS[now](one.text) and now != "separated":
                sentence = f"prints {one.text!r} as an error: a line of the log in {self.both.after}, which the user does not see"
                yield Reliance("error", script.key, one.line, sentence)

    def _own(self, script: Script) -> tuple[str, ...]:
        """Return the requirements on the action that the new contract has and the old one has not."""
        return tuple(name for change in self.both.of(script.action) for name in change.requirements if name in self.both.new.requirements)
