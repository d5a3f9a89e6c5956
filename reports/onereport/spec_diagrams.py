"""Diagrams of lifecycles: where every box, line and word of a picture stands. The templates draw them as SVG.

All measures are in the units of the picture, which are CSS pixels. Text is monospaced, so that its width is known without a browser.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field

from onereport.spec_actions import action_url
from onereport.spec_lifecycles import LifecycleView, OperationView, ScriptView, StepView, Track
from onereport.spec_words import word
from onesim.rows import State

_CHAR, _LINE, _PAD, _GAP_X, _GAP_Y = 6.65, 15.0, 9.0, 46.0, 14.0
_WRAP = 40
_LANES_MAX = 13


@dataclass(frozen=True)
class Word:
    """A piece of text: where, what, in which style, and where a click leads."""

    x: float
    y: float
    text: str
    style: str = ""
    url: str = ""
    anchor: str = "start"


@dataclass(frozen=True)
class Box:
    """A rounded rectangle."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Line:
    """A path; `arrow` puts a head at its end."""

    path: str
    style: str = ""
    arrow: bool = True


@dataclass
class Picture:
    """A picture under construction and when done."""

    title: str
    width: float = 0.0
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)

    def reach(self, x: float, y: float) -> None:
        """Make the picture at least this large."""
        self.width, self.height = max(self.width, x), max(self.height, y)


@dataclass(frozen=True)
class _Text:
    text: str
    style: str = ""
    url: str = ""


@dataclass(frozen=True)
class _Block:
    """The text of a box, before it has a place."""

    rows: tuple[_Text, ...]
    style: str

    @property
    def width(self) -> float:
        return max((len(one.text) for one in self.rows), default=0) * _CHAR + 2 * _PAD

    @property
    def height(self) -> float:
        return len(self.rows) * _LINE + _PAD


Numbers = Callable[[str], str]


def numbers(states: tuple[State, ...]) -> Numbers:
    """Return what tells the number of a state: `3/39` for STATE and LCM_STATE, `5` where there is no second one; empty for an unknown one."""
    table = {row.name: f"{row.state}/{row.lcm}" if row.lcm >= 0 else str(row.state) for row in states if row.state >= 0}
    return lambda name: table.get(name, "")


def operation_picture(view: LifecycleView, operation: OperationView) -> Picture:
    """Return the picture of an operation: a row for each of its ways, from left to right."""
    picture = Picture(f"{word('object', view.kind)}: {operation.name}")
    number = numbers(view.states)
    y = _GAP_Y
    for track in operation.tracks:
        y = _track(picture, track, number, y) + _GAP_Y
    picture.reach(picture.width + _PAD, y)
    return picture


def phase_picture(view: LifecycleView, step: StepView) -> Picture:
    """Return the picture of a phase that oned enters by itself."""
    picture = Picture(f"{word('object', view.kind)}: {step.phase.name}")
    number = numbers(view.states)
    bottom = _steps(picture, (step,), step.phase.success, number, _PAD, _GAP_Y, [])
    picture.reach(picture.width + _PAD, bottom + _GAP_Y)
    return picture


def _track(picture: Picture, track: Track, number: Numbers, top: float) -> float:
    if track.span != "all contracts":
        picture.words.append(Word(_PAD, top + 6, track.span, "span"))
        top += _LINE
    blocks = [_start(name, before, number) for name, before in zip(track.froms, track.before, strict=True)]
    blocks = blocks or [_Block((_Text("there is none yet", "note"),), "none")]
    width = max(block.width for block in blocks)
    starts: list[tuple[float, float]] = []
    y = top
    for block in blocks:
        _put(picture, block, _PAD, y, width)
        starts.append((_PAD + width, y + block.height / 2))
        y += block.height + 6
    if track.row.stays:
        mark = _Block((_Text("the state stays", "note"),), "none")
        x = _PAD + width + _GAP_X
        _put(picture, mark, x, top, mark.width)
        _join(picture, starts, (x, top + mark.height / 2))
        return max(y, top + mark.height)
    return max(y, _steps(picture, track.steps, track.end, number, _PAD + width + _GAP_X, top, starts))


def _start(name: str, before: tuple[str, ...], number: Numbers) -> _Block:
    note = _wrapped(f"before it: {', '.join(before)}", "note") if before else ()
    return _Block((_state(name, number), *note), "rest")


def _steps(
    picture: Picture, steps: tuple[StepView, ...], end: str, number: Numbers, x: float, top: float, starts: list[tuple[float, float]]
) -> float:
    """Draw the phases from left to right, below each what its failure leads to, and the state at the end. Returns the lowest y."""
    goal = _Block((_state(end, number),), "rest end")
    bottom = top
    for step in steps:
        block = _phase(step, number)
        middle = top + goal.height / 2
        _put(picture, block, x, top, block.width)
        _join(picture, starts, (x, middle))
        low, right = top + block.height, x + block.width
        if step.phase.failure != step.phase.success or step.phase.fails == "stop":
            low, right = _failure(picture, step, number, x, low, block.width)
        starts = [(x + block.width, middle)]
        x = max(x + block.width + _GAP_X, right + 14)
        bottom = max(bottom, low)
    _put(picture, goal, x, top, goal.width)
    _join(picture, starts, (x, top + goal.height / 2))
    return max(bottom, top + goal.height)


def _failure(picture: Picture, step: StepView, number: Numbers, x: float, y: float, width: float) -> tuple[float, float]:
    """Draw where the failure of a phase leads, below the phase. Returns the lowest and the rightmost that it takes."""
    rows: list[_Text] = []
    if step.rollback:
        rows += _wrapped(f"if {' or '.join(step.phase.rollback_after)} failed:", "note")
        rows += _script_rows(step.rollback)
    rows.append(_state(step.phase.failure, number))
    if step.phase.return_:
        rows += _wrapped("back on its history record before", "note")
    block = _Block(tuple(rows), "failure")
    top = y + 26
    taken = max(block.width, min(width - 14, 120))
    _put(picture, block, x + 14, top, taken)
    picture.lines.append(Line(f"M{x + 30:.1f} {y:.1f} V{top:.1f}", "failure"))
    picture.words.append(Word(x + 38, y + 17, "fails", "failure"))
    return top + block.height, x + 14 + taken


def _phase(step: StepView, number: Numbers) -> _Block:
    phase = step.phase
    rows = [_Text(phase.name, "name", f"#phase-{phase.name}")]
    if phase.beside:
        rows.append(_Text("beside a running phase", "note"))
    elif phase.shown != phase.name:
        rows.append(_Text(f"shows {phase.shown} {number(phase.shown)}".rstrip(), "note"))
    elif number(phase.shown):
        rows.append(_Text(f"state {number(phase.shown)}", "note"))
    for script in step.scripts:
        rows += _script_rows(script)
    if not any(script.calls for script in step.scripts):
        rows.append(_Text("no call to a script", "note"))
    if phase.fails == "ignore":
        rows += _wrapped("whatever the result is", "note")
    return _Block(tuple(rows), "phase")


def _script_rows(script: ScriptView) -> list[_Text]:
    rows: list[_Text] = []
    for call in script.calls:
        rows.append(_Text(call.action, "call hypervisor" if call.action.startswith("vmm/") else "call", action_url(call.action)))
        told = ", ".join(call.members) + (f" ({call.span})" if call.span else "") + ("; failure ignored" if call.fails == "ignore" else "")
        rows += _wrapped(f"  {told}", "note")
    return rows


def _wrapped(text: str, style: str) -> tuple[_Text, ...]:
    indent = text[: len(text) - len(text.lstrip())]
    return tuple(
        _Text(line, style) for line in textwrap.wrap(text, _WRAP, subsequent_indent=indent, initial_indent="", drop_whitespace=True) or [text]
    )


def _state(name: str, number: Numbers) -> _Text:
    return _Text(f"{name} {number(name)}".rstrip(), "state", f"#state-{name}" if number(name) or name == "GONE" else "")


def _put(picture: Picture, block: _Block, x: float, y: float, width: float) -> None:
    picture.boxes.append(Box(x, y, width, block.height, block.style))
    for n, row in enumerate(block.rows):
        indent = len(row.text) - len(row.text.lstrip())
        picture.words.append(Word(x + _PAD + indent * _CHAR, y + _LINE * (n + 1) - 0.5, row.text.strip(), row.style, row.url))
    picture.reach(x + width, y + block.height)


def _join(picture: Picture, starts: list[tuple[float, float]], goal: tuple[float, float]) -> None:
    x, y = goal
    for left, middle in starts:
        bend = (x - left) / 2
        straight = abs(middle - y) < 1
        curve = f"H{x:.1f}" if straight else f"C{left + bend:.1f} {middle:.1f} {x - bend:.1f} {y:.1f} {x:.1f} {y:.1f}"
        picture.lines.append(Line(f"M{left:.1f} {middle:.1f} {curve}"))


def overview_picture(view: LifecycleView) -> Picture:
    """Return the states of rest side by side and, line by line, from which of them an operation starts and where it ends.

    States to which only failures lead are left out where there are too many; their table tells of them.
    """
    picture = Picture(f"{word('object', view.kind)}: states of rest and the operations between them")
    number = numbers(view.states)
    rest = [row.name for row in view.states if row.rest]
    left_out = set(view.failure_states()) if len(rest) > _LANES_MAX else set()
    lanes = [name for name in rest if name not in left_out]
    gutter = max((len(one.name) for one in view.operations), default=0) * _CHAR + 2 * _PAD
    centres: dict[str, float] = {}
    x, head = gutter, _LINE * 2 + _PAD
    for name in lanes:
        width = max(len(name), 6) * _CHAR + 12
        centres[name] = x + width / 2
        picture.words.append(Word(x + width / 2, _LINE, name, "state", f"#state-{name}", "middle"))
        picture.words.append(Word(x + width / 2, _LINE * 2, number(name), "note", "", "middle"))
        x += width
    y = head + 12
    for operation in view.operations:
        y = _lanes_of(picture, operation, centres, x, y)
    for name in lanes:
        picture.lines.insert(0, Line(f"M{centres[name]:.1f} {head:.1f} V{y - 8:.1f}", "lane", arrow=False))
    picture.reach(x + _PAD, y)
    return picture


def _lanes_of(picture: Picture, operation: OperationView, centres: dict[str, float], width: float, y: float) -> float:
    """Draw an operation: a line for each state that it leads to, and one for all states that it returns to. Returns the next free y."""
    ends: dict[str, list[str]] = {}
    for track in operation.tracks:
        for name in track.froms or ("",):
            if track.end in centres and (name in centres or not name):
                ends.setdefault("" if name == track.end else track.end, []).append(name)
    for n, (end, froms) in enumerate(ends.items()):
        if n == 0:
            picture.boxes.append(Box(0, y - 10, width, 0.5, "rule"))
            picture.words.append(Word(0, y + 4, operation.name, "call", f"#op-{operation.name}"))
        for name in dict.fromkeys(froms):
            if not end:
                picture.boxes.append(Box(centres[name] - 5, y - 5, 10, 10, "dot stays"))
                continue
            goal = centres[end]
            start = centres[name] if name else goal - 40
            picture.boxes.append(Box(start - 4, y - 4, 8, 8, "dot" if name else "dot new"))
            picture.lines.append(Line(f"M{start:.1f} {y:.1f} H{goal - 6 if goal > start else goal + 6:.1f}"))
        y += 20
    return y
