"""Which lines of scripts are run: told without any change to what a script does, and the line that failed is named."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from onesim.coverage import Sources
from onesim.events import Answer
from onesim.world.interface import Limits, Run
from onesim.world.namespaces import NamespaceWorld

pytestmark = pytest.mark.components

REMOTES = "/var/lib/one/remotes"
LIBRARY = """fail() {
    log "failed: $*"
    exit 1
}
log() { echo "$*" >&2; }
complain() {
    sed s/a/b/ <<<"$1" >&2
    exit 1
}
bring() {
    local what=$1
    [[ -n $what ]] || fail "nothing to bring"
    cp "$what" /x || fail "cannot bring"
}
"""
#: Scripts that look at what tracing touches. What they print and leave must be the same with it and without it.
NOSY = {
    "options": 'echo "$- $SHELLOPTS"',
    "its own trace": "set -x; echo one; set +x",
    "a trace of a child": "bash -x -c 'echo two'",
    "a trace by its first line": "",
    "a program that has a host trace": "",
    "descriptors": "exec {one}<$0 {two}<$0; echo $one $two; exec {one}<&- {two}<&-",
    "the descriptors of a child": "ls /proc/self/fd | wc -l",
    "all descriptors closed": 'for n in $(ls /proc/$$/fd); do ((n < 3)) || eval "exec $n>&-"; done; echo closed; echo end',
    "a loop over low descriptors": 'for n in {3..255}; do eval "exec $n>&-"; done; true',
    "variables": 'echo "[${PS4}] [${BASH_XTRACEFD-none}]"',
    "an empty environment": "env -i bash -c 'echo $-; env | sort'",
    "its own BASH_ENV": "echo 'echo hello' >/tmp/env; BASH_ENV=/tmp/env bash -c 'echo $BASH_ENV'",
    "sh": "sh -c 'echo $-; true'; sh <<<'set -eu; echo here'",
    "bash -p": "bash -p -c 'echo $-'",
    "exported options": "set -u; export SHELLOPTS; bash -c 'echo \"${undefined-none}\"; true'; sh -c :",
    "unset variables": 'set -u; f() { local -a none=(); echo "${none[@]-}"; }; f; bash -uc \'echo "$1"\' x y; ssh host01 \'set -u; echo "$HOME"\'',
    "the status": 'echo $?; false; echo $?; true | false | true; echo "${PIPESTATUS[*]}"',
    "another IFS": "IFS=; echo a b; IFS=0123456789; x='a1b'; echo $x",
    "a file's size": "ulimit -f 0; (echo x >/tmp/x) 2>/dev/null; echo $?",
    "few descriptors": "ulimit -n 64; bash -c 'echo few'",
    "exec": f"exec bash -c 'echo $0; exit 3' {REMOTES}",
    "subshells": "a=$( (exit 4); echo $? ); echo $a; (cd /; pwd); echo x | while read -r y; do echo $y; done",
    "errors to a file": "{ false; echo out; } 2>/tmp/log; cat /tmp/log; exec 2>&1; nosuchcommand; true",
    "a trap": "trap 'echo bye $?' EXIT; trap 'echo err $LINENO' ERR; false; true",
    "a debug trap": "trap 'echo debug $LINENO' DEBUG; true",
    "callers": 'f() { caller; echo "${FUNCNAME[*]} ${BASH_LINENO[*]}"; }; f',
    "a host": "ssh host01 'echo $-; hostname'; ssh host02 bash -s <<<'set -eu; echo there'; ssh -n host01 'exit 5'; echo $?",
    "functions sent": 'g() { hostname; }; ssh host01 bash -s <<<"$(declare -f g); g"',
    "a trace on a host": "ssh host01 bash -s <<'EOF'\nset -x\nhostname\nEOF\ntrue",
    "something left behind": "nohup sleep 0.2 >/dev/null 2>&1 & echo left",
    "a status from below": "bash -c 'exit 9'; exit $?",
    "free space": "df --output=used /var/lib/one | tail -1 | grep -c .",
}

FIRST_LINES = {
    "a trace by its first line": "#!/bin/bash -x\necho first\n",
    "a program that has a host trace": "#!/usr/bin/python3\nimport subprocess\nsubprocess.run(['ssh', 'host01', 'set -x; echo there'], check=True)\n",
}


def _scripts() -> dict[str, str]:
    found = {f"tm/nosy/script{n}": f"#!/bin/bash\n{text}\n" for n, text in enumerate(NOSY.values())}
    for name, text in FIRST_LINES.items():
        found[f"tm/nosy/script{list(NOSY).index(name)}"] = text
    return found


def _world(files: dict[str, str], *, traced: bool = True) -> NamespaceWorld:
    sources = Sources(files)
    world = NamespaceWorld.start(
        tracer=sources.tracer if traced else b"", left_alone=sources.left_alone if traced else (), on_question=lambda question: Answer(b"answer\n")
    )
    for file, text in files.items():
        world.put("frontend", f"{REMOTES}/{file}", text.encode(), 0o755)
    return world


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[NamespaceWorld, NamespaceWorld]]:
    """A world that tells lines, and one that does not."""
    with _world(_scripts()) as traced, _world(_scripts(), traced=False) as plain:
        yield traced, plain


def _call(world: NamespaceWorld, file: str, *words: str, limits: Limits | None = None) -> Run:
    return world.run("frontend", [f"{REMOTES}/{file}", *words], call_id="case/7", limits=limits)


def _seen(run: Run) -> tuple[object, ...]:
    stderr = re.sub(rb"line \d+", b"line", run.stderr)
    return run.ended_by, run.status, run.signal, run.stdout, stderr, run.leftovers, [(one.name, one.argv, one.host) for one in run.commands]


@pytest.mark.parametrize("name", NOSY)
def test_a_script_does_the_same_with_lines_told(both: tuple[NamespaceWorld, NamespaceWorld], name: str) -> None:
    """Its output, its exit status, its commands and what it leaves are equal. Of a few that could tell, no lines are told."""
    traced, plain = both
    file = f"tm/nosy/script{list(NOSY).index(name)}"
    with_lines, without = _call(traced, file), _call(plain, file)
    assert _seen(with_lines) == _seen(without)
    assert without.lines is None
    assert bool(with_lines.lines and with_lines.lines.ran) != (file in Sources(_scripts()).left_alone)


def _failing(files: dict[str, str], file: str, limits: Limits | None = None) -> tuple[str, str, Run]:
    """Run a script that fails. Returns the line that failed, and those that ran last."""
    sources = Sources(files)
    with _world(files) as world:
        world.put("host01", "/var/tmp/one/tm/x/lib.sh", LIBRARY.encode())
        run = _call(world, file, limits=limits)
    lines = sources.lines(run.lines, {}) if run.lines is not None else {}
    script = f"{REMOTES}/{file}"
    return str(sources.failed(run, script)), ", ".join(map(str, sources.last(run, script, lines))), run


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("set -e\nrm -f x\ncp /none /x\necho never", 5),
        ("set -e\ntrap 'rm -f /tmp/x' EXIT\ncp /none /x", 5),
        ("clean() {\n    local x\n    rm -f /tmp/x\n}\ntrap clean EXIT\nset -e\ncp /none /x", 9),
        ('cp /none /x ||\n    fail "no"', 3),
        ('if ! cp /none /x; then\n    log "bad"\n    fail "no"\nfi', 3),
        ('[[ -n "" ]] && true\nif ! cp /none /x; then\n    echo bad >&2\n    exit 2\nfi', 4),
        ("cp /none /x\nrc=$?\nrm -f /tmp/x\nexit $rc", 3),
        ("main() {\n    true\n    cp /none /x || { echo bad; exit 1; }\n}\nmain", 5),
        ('cp /none /x || {\n    problem+=bad\n    if [[ -n $1 ]]; then\n        [[ $1 == x ]] || problem+=x\n    fi\n    fail "$problem"\n}', 3),
        ('if ! cp /none /x; then\n    complain "no"\nfi', 3),
        ("true && bring /none\nbring /usr", 3),
        ("grep -q x /none || :\n[[ $1 == x ]] || fail no", 4),
        ("die() { echo bad >&2; exit 1; }\ncp /none /x || die", 4),
        ("die() {\n    [[ -n $1 ]] && echo bad >&2\n    exit 1\n}\nif ! false; then\n    die\nfi", 7),
        ("set -e\na=$(cp /none /x)\necho never", 4),
        ("set -e\n(\n    cd /\n    cp /none /x\n)", 6),
        ("set -eE\ntrap 'fail at $LINENO' ERR\ncp /none /x", 5),
        ("case $1 in\n    x) true ;;\n    *) fail unknown ;;\nesac", 3),
        ("set -eu\necho $nothing", 4),
        ("true\nexec bash -c 'exit 3'", 4),
        ("nosuchcommand", 3),
        ('ssh host01 "exit 7" || fail no', 3),
        ("kill -KILL $$", 3),
        ("while :; do :; done", 3),
    ],
)
def test_the_line_that_failed_is_named(body: str, line: int) -> None:
    """Not that of the helper that prints the error, nor a trap's, nor what cleans up."""
    script = f"#!/bin/bash\n. {REMOTES}/tm/x/lib.sh\n{body}\n"
    at, _, run = _failing({"tm/x/lib.sh": LIBRARY, "tm/x/mv": script}, "tm/x/mv", Limits(time_s=2))
    assert at == f"tm/x/mv:{line}", (run.lines.tail if run.lines else "", run.stderr)


def test_a_loud_loop_is_cut_and_its_end_is_kept() -> None:
    """A hundred thousand commands leave no more than the world's bound for them; the last lines are right."""
    script = "#!/bin/bash\nfor ((n = 0; n < 200000; n++)); do\n    :\ndone\necho after\ncp /none /x\nexit 3\n"
    at, last, run = _failing({"tm/x/mv": script}, "tm/x/mv")
    assert (run.status, at, last) == (3, "tm/x/mv:6", "tm/x/mv:7")
    assert run.lines is not None and run.lines.ran[f"{REMOTES}/tm/x/mv"] == (2, 3, 5, 6, 7)


def test_a_function_of_a_library_in_which_a_command_fails_is_named_where_the_script_calls_it() -> None:
    """It reports too, but that is not all that it does; and of a host the line is named that ran last, not the trap's."""
    library = """fail() {
    echo "$1" >&2
    exit 1
}
on_host() {
    local said
    said=$(ssh "$1" bash -s 2>&1 <<<"$(declare -f there); there") || fail "no: $said"
}
"""
    script = f"""#!/bin/bash
. {REMOTES}/tm/x/on_host.sh
word=$(basename /a)
there() {{
    trap 'rm -f /tmp/x' EXIT
    set -e
    cp /none /x
}}
[[ $word == a ]]
on_host host01
"""
    at, last, run = _failing({"tm/x/on_host.sh": library, "tm/x/mv": script}, "tm/x/mv")
    assert run.status == 1 and b"cannot stat" in run.stderr, run
    assert (at, last) == ("tm/x/mv:10", "tm/x/mv:10, tm/x/mv:7 on host01")


def test_what_runs_on_hosts_is_told_of_the_file_that_it_was_sent_from() -> None:
    """A function that travels by `declare -f`, and a script that lies on the host."""
    script = (
        "#!/bin/bash\n. /var/lib/one/remotes/tm/x/lib.sh\nthere() {\n    local x=1\n\n    # why\n    cp /none /x\n}\n"
        'ssh host01 bash -s <<<"$(declare -f there)\nthere" || fail no\n'
    )
    at, last, run = _failing({"tm/x/lib.sh": LIBRARY, "tm/x/mv": script}, "tm/x/mv")
    assert (at, last) == ("tm/x/mv:9", "tm/x/mv:10, tm/x/mv:7 on host01")
    assert run.lines is not None


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("#!/usr/bin/python3\ndef f():\n    raise ValueError('x')\n\nf()\n", 3),
        ("#!/bin/sh\ntrue\nset -eu\necho $nothing\n", 4),
        ("#!/usr/bin/perl\n\ndie 'no'\n", 3),
        ("#!/bin/bash -x\ntrue\nset -eu\necho $nothing\n", 4),
    ],
)
def test_what_an_interpreter_says_names_the_line_where_nothing_is_traced(script: str, line: int) -> None:
    """Python, sh and Perl run as they are; so does a script that traces itself."""
    at, last, run = _failing({"tm/x/mv": script}, "tm/x/mv")
    assert (at, last) == (f"tm/x/mv:{line}", ""), run.stderr
    assert run.lines is None or not run.lines.ran


def test_nothing_expanded_leaves_the_world() -> None:
    """What travels are places and the names of commands."""
    script = "#!/bin/bash\npassword=sesame\necho $password >/dev/null\n$password x\n"
    _, _, run = _failing({"tm/x/mv": script}, "tm/x/mv")
    assert run.status == 127 and run.lines is not None
    assert "sesame" not in repr(run.lines)
