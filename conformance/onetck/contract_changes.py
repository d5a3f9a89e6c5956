"""What changes for drivers between two contracts: the difference of the tables' rows, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from onesim.rendering import element_names
from onesim.rows import Action
from onesim.spec import ContractSpec


class Change(msgspec.Struct, frozen=True):
    """A change of an action, or of all of them (`action` empty). `old` and `new` are what the rows say; `requirements` what then holds."""

    kind: str
    action: str
    sentence: str
    requirements: tuple[str, ...] = ()


class Both:
    """Two contracts side by side."""

    def __init__(self, old: ContractSpec, new: ContractSpec) -> None:
        self.old, self.new = old, new
        self.before, self.after = old.contract.name, new.contract.name

    def general(self) -> Iterator[Change]:
        """Yield what changes for every action: how error text is found, and the requirements that come and go for all."""
        coming, going = self._requirements("*", "ds/*", "tm/*")
        if self.old.contract.error != self.new.contract.error:
            yield Change("error", "", f"error text: {self.old.contract.error} in {self.before}, {self.new.contract.error} in {self.after}")
        for name in coming:
            yield Change("requirement", "", f"now: {self.new.requirements[name].sentence}", (name,))
        for name in going:
            yield Change("requirement", "", f"no more: {self.old.requirements[name].sentence}", (name,))

    def of(self, key: str) -> Iterator[Change]:
        """Yield what changes for an action."""
        old, new = self.old.actions.get(key), self.new.actions.get(key)
        coming, going = self._requirements(key)
        if old is None or new is None:
            if new is not None:
                row = f"oned calls it for {', '.join(new.triggers) or ', '.join(new.by)}: {' '.join(self.new.argv(new))}"
                yield Change("new", key, f"new in {self.after}: {row}", tuple(coming))
            elif old is not None:
                yield Change("removed", key, f"{self.after} does not call it any more")
            return
        yield from self._form(old, new)
        yield from self._document(old, new)
        for name in coming:
            yield Change("requirement", key, f"now: {self.new.requirements[name].sentence}", (name,))
        for name in going:
            yield Change("requirement", key, f"no more: {self.old.requirements[name].sentence}", (name,))

    def _form(self, old: Action, new: Action) -> Iterator[Change]:
        key = new.key
        before, after = " ".join(self.old.argv(old)), " ".join(self.new.argv(new))
        if before != after:
            yield Change("argv", key, f"arguments: {before or 'none'} in {self.before}, {after or 'none'} in {self.after}")
        carriages = self.new.spec.carriages
        first, second = self.old.stdin(old), self.new.stdin(new)
        if first != second:
            told = " ".join(
                f"{contract}: {carriages[name].meaning} ({carriages[name].encoding})"
                for contract, name in ((self.before, first), (self.after, second))
            )
            yield Change("stdin", key, f"standard input: {told}")
        parsers = self.new.spec.parsers
        read, reads = self.old.parser(key), self.new.parser(key)
        if read != reads:
            yield Change("output", key, f"output: {self.before} takes {parsers[read].takes}; {self.after} takes {parsers[reads].takes}")
        if old.triggers != new.triggers:
            yield Change("triggers", key, f"called for {', '.join(new.triggers)}; before for {', '.join(old.triggers)}")

    def _document(self, old: Action, new: Action) -> Iterator[Change]:
        gone, come = self.elements(new.key)
        if come:
            yield Change("document", new.key, f"its document gains {', '.join(sorted(come))}")
        if gone:
            yield Change("document", new.key, f"its document loses {', '.join(sorted(gone))}")

    def elements(self, key: str) -> tuple[set[str], set[str]]:
        """Return the elements (PARENT/NAME) that an action's document loses and gains."""
        old, new = _elements(self.old, key), _elements(self.new, key)
        return _outermost(old - new), _outermost(new - old)

    def _requirements(self, *actions: str) -> tuple[list[str], list[str]]:
        def held(spec: ContractSpec) -> list[str]:
            return [name for name, row in spec.requirements.items() if row.action in actions]

        before, after = held(self.old), held(self.new)
        return [name for name in after if name not in before], [name for name in before if name not in after]


def _elements(spec: ContractSpec, key: str) -> set[str]:
    action = spec.actions[key]
    if action.passing:
        waiting = [row.name for row in spec.children(action)]
        root = spec.spec.carriages["dump"].root
        found = {f"{root}/{name}" for name in waiting}
    else:
        root = spec.spec.carriages[spec.stdin(action)].root
        waiting, found = [root] if root else [], set()
    seen: set[str] = set()
    while waiting:
        parent = waiting.pop()
        if parent in seen:
            continue
        seen.add(parent)
        names = element_names(parent, spec.version)
        found |= {f"{parent}/{name}" for name in names}
        waiting += names
    return found


def _outermost(paths: set[str]) -> set[str]:
    """Leave out what only comes or goes with the element that it stands in."""
    names = {path.rpartition("/")[2] for path in paths}
    return {path for path in paths if path.partition("/")[0] not in names}
