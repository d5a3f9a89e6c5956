"""Rules on what scripts take: the driver action document where the contract gives it, and no argument that nobody gives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from onetck.lint.findings import Finding, Rules
from onetck.lint.inputs import Inputs, Readers
from onetck.lint.sources import Script, Sources

#: A grammar of an argument that stands for several words: something repeated that is not introduced by a sign.
_SEVERAL = re.compile(r"\*\( (?!\")")


def check_arguments(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the scripts that take the document or an argument from where the contract does not give it."""
    readers = Readers(sources)
    for script in sources.entries:
        action = sources.spec.actions.get(script.action)
        inputs = readers.inputs(script) if action is not None else None
        if action is None or inputs is None:
            continue
        if action.passing:
            yield from _check_document(script, inputs, sources, rules)
        elif not any(_SEVERAL.search(sources.spec.spec.arguments[name].grammar) for name in sources.spec.argv(action)):
            yield from _check_positions(script, inputs, sources, rules)


def _check_document(script: Script, inputs: Inputs, sources: Sources, rules: Rules) -> Iterator[Finding]:
    contract, passing = sources.spec.contract, sources.spec.passing
    given = {name: place for place, name in enumerate(passing.argv, 1)}
    if passing.stdin != "nothing":
        if inputs.reads:
            return
        # a place that nobody fills, or that holds no document
        wrong = (
            {number for number, _ in inputs.positions if number > len(passing.argv)}
            | set(inputs.decoded)
            | ({given["dash"]} if "dash" in given else set())
        )
        lines = [line for number, line in inputs.positions if number in wrong]
        if lines:
            sentence = f"takes the document from an argument, but {contract.name} gives it on standard input, which the script does not read"
            yield rules.found("document", script.key, min(lines), sentence)
    elif inputs.reads and not inputs.whole and not inputs.decoded and all(number < len(passing.argv) for number, _ in inputs.positions):
        sentence = f"takes the document from standard input, but {contract.name} gives it as argument {given['dump']}"
        yield rules.found("document", script.key, inputs.reads[0], sentence)


def _check_positions(script: Script, inputs: Inputs, sources: Sources, rules: Rules) -> Iterator[Finding]:
    action = sources.spec.actions[script.action]
    argv = sources.spec.argv(action)
    for number in sorted({number for number, _ in inputs.positions if number > len(argv)}):
        sentence = f"uses argument {number}, but oned gives {len(argv)}: {' '.join(argv)}"
        yield rules.found("position", script.key, min(inputs.lines(number)), sentence)
