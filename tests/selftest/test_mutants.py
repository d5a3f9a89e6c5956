"""Mutants: what operators make of a line, what is left alone, and that ids stay where they are."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onesim.data import data_dir
from onetck.selftest.mutants import Mutant, apart, choose, derive, mutated, parses, scripts
from onetck.selftest.operators import OPERATORS
from onetck.selftest.reasons import read_reasons, stale
from onetck.selftest.source import is_action, lines_of

TREE = data_dir("reference_driver") / "remotes"
FILES = scripts(TREE, (path.relative_to(TREE).as_posix() for path in TREE.rglob("*") if path.is_file()))

# operator, a line, what becomes of it
ROWS = [
    ("skip_copy", 'cp --sparse=always -- "$1" "$2"', [":"]),
    ("leave_file", "trap - EXIT", [":"]),
    ("leave_file", '[[ -z $a ]] || rm -f -- "$a"', ["[[ -z $a ]] || :"]),
    ("forget_mode", "umask 0007", [":"]),
    ("drop_command", 'check_owner "$source" "$vm_id"', [":"]),
    ("drop_command", 'if mkdir -- "$a"; then', ["if :; then"]),
    ("drop_command", "local a=$1", []),
    ("drop_command", 'for one in "$@"; do', []),
    ("negate_test", "[[ $a == b ]] || fail no", ["! [[ $a == b ]] || fail no"]),
    ("negate_test", "if [[ ! -e $a ]]; then", ["if [[ -e $a ]]; then"]),
    ("negate_test", "((a > 3)) || return", ["((!(a > 3))) || return"]),
    ("part_of_test", "[[ -n $a && -d $b ]]", ["[[ -d $b ]]", "[[ -n $a ]]"]),
    ("swap_connector", "a && b || c", ["a || b || c", "a && b && c"]),
    ("swap_connector", '[[ $a == b || $c ]] || d "x || y"', ['[[ $a == b || $c ]] && d "x || y"']),
    ("swap_connector", "read -r a || :", ["read -r a"]),
    ("ignore_failure", 'cp -- "$1" "$2"', ['cp -- "$1" "$2" || :']),
    ("ignore_failure", 'a=$(stat -c %s -- "$1")', ['a=$(stat -c %s -- "$1") || :']),
    ("ignore_failure", 'check_owner "$a"', []),
    ("exit_zero", '[[ -n $a ]] || fail "it is $a; no"', ["[[ -n $a ]] || exit 0"]),
    ("exit_zero", "return 1", ["return 0"]),
    ("exit_zero", "exit 0", []),
    ("exit_one", "! names_disk || exit 0", ["! names_disk || exit 1"]),
    ("swap_arguments", 'mv -T -- "$a" "$b"', ['mv -T -- "$b" "$a"']),
    ("other_argument", 'a=$(arg_path "$2")', ['a=$(arg_path "$1")']),
    ("other_argument", "id=${!#}", ["id=$1"]),
    ("wrong_host", 'on_host "no" "$host" f', ['on_host "no" "" f']),
    ("wrong_id", 'ask "$vm_id"', ['ask "${vm_id}0"']),
    ("wrong_field", "path=${texts[3]}", ["path=${texts[2]}"]),
    ("head_for_snapshot", 'host_copy "$file.snap/$2"', ['host_copy "$file"']),
    ("truncate", 'cat >"$part"', ['head -c -65536 >"$part"']),
    ("smaller", 'truncate -s "${size_mb}M" -- "$1"', ['truncate -s "${size_mb}K" -- "$1"']),
    ("drop_redirect", "a 2>&1 >/dev/null", ["a >/dev/null", "a 2>&1"]),
    ("ignore_stdin", 'bash -s <<<"$(f "$@")" | cat', ["bash -s </dev/null | cat"]),
    ("ignore_stdin", 'read_texts A < <(driver_dump "$@")', ["read_texts A </dev/null"]),
    ("wrong_stream", "printf '%s\\n' \"$a\"", ["printf '%s\\n' \"$a\" >&2"]),
    ("drop_option", 'cp -a --sparse=always -- "$a"', ['cp --sparse=always -- "$a"', 'cp -a -- "$a"']),
    ("unquote", 'add "$file" "$host"', ['add $file "$host"']),
    ("other_number", "((a < 2))", ["((a < 3))"]),
    ("other_number", "((a)) || b 2>&1 || return 1", []),
    ("other_comparison", "((a < 2))", ["((a <= 2))"]),
    ("other_word", "format=raw", ["format=qcow2"]),
    ("other_word", 'part="$1.raw"', []),
    ("drop_default", "a=${b:-raw}", ["a=${b:-}"]),
    ("drop_alternative", "    raw | qcow2) ;;", ["    qcow2) ;;", "    raw) ;;"]),
    ("loose_pattern", "[[ $1 =~ ^[0-9]+$ ]]", ["[[ $1 =~ [0-9]+$ ]]", "[[ $1 =~ ^[0-9]+ ]]"]),
    ("do_nothing", "set -euo pipefail", ["set -euo pipefail; exit 0"]),
    ("chatter", "set -euo pipefail", ["set -euo pipefail; echo working"]),
    ("leave_process", "set -euo pipefail", ["set -euo pipefail; sleep 60 &"]),
    ("stray_file", "set -euo pipefail", ["set -euo pipefail; : >/var/lib/one/datastores/1/left.$$"]),
]


@pytest.mark.parametrize(("operator", "before", "after"), ROWS)
def test_an_operator_makes_of_a_line_what_its_name_says(operator: str, before: str, after: list[str]) -> None:
    """Each operator changes the line where it applies, and nothing else of it."""
    (line,) = lines_of(before, "datastore")
    assert list(OPERATORS[operator](line)) == after


def test_what_is_done_at_the_beginning_is_done_in_actions_alone() -> None:
    """A transfer action may print: nobody reads it."""
    for family, operators in (("", []), ("tm", ["do_nothing", "leave_process", "stray_file"])):
        (line,) = lines_of("set -euo pipefail", family)
        assert [name for name, operator in OPERATORS.items() if list(operator(line))] == operators


def test_every_operator_has_a_row_here() -> None:
    """None is untested."""
    assert {row[0] for row in ROWS} == set(OPERATORS)


def test_comments_sourced_files_and_what_is_only_punctuation_are_no_lines_of_code() -> None:
    """A mutant of these would say nothing."""
    text = "#!/bin/bash\n# rm -rf /\nsource a.sh\nf() {\n    cp a b # not c\n}\nif x; then\n    y\nelse\n    z\nfi\nsay 'two\n# lines'\n"
    assert [(line.number, line.code.strip()) for line in lines_of(text)] == [
        (5, "cp a b"),
        (7, "if x; then"),
        (8, "y"),
        (10, "z"),
        (12, "say 'two"),
    ]


def test_mutants_differ_from_the_script_and_from_each_other_in_one_line() -> None:
    """None is the driver itself, none is made twice, and each has an id of its own."""
    mutants = derive(FILES)
    texts = {(one.file, mutated(FILES[one.file], one)) for one in mutants}
    assert len(texts) == len(mutants) == len({one.id for one in mutants}) > 2000
    for one in mutants[::50]:
        old, new = FILES[one.file].split("\n"), mutated(FILES[one.file], one).split("\n")
        assert [n for n, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b] == [one.line]


def test_the_wording_of_messages_is_not_changed() -> None:
    """What is said to people is the driver's own; what stands beside the message is not."""
    made = derive({"tm/shared/x": 'on_host "Cannot do $1 of $vm_id" "$host" f "$1" || fail "no $2"\n'})
    assert {(one.operator, one.after) for one in made if one.operator in ("other_argument", "wrong_id", "wrong_host", "exit_zero")} == {
        ("other_argument", 'on_host "Cannot do $1 of $vm_id" "$host" f "$2" || fail "no $2"'),
        ("wrong_host", 'on_host "Cannot do $1 of $vm_id" "" f "$1" || fail "no $2"'),
        ("exit_zero", 'on_host "Cannot do $1 of $vm_id" "$host" f "$1" || exit 0'),
    }


def test_an_id_stays_when_lines_are_added_above_and_goes_when_the_line_changes() -> None:
    """So a reason holds as long as what it is about, and is stale afterwards."""

    def ids(text: str) -> dict[str, Mutant]:
        return {one.id: one for one in derive({"tm/shared/mv": text})}

    first = ids('cp -- "$1" "$2"\n')
    assert first.keys() == ids('# one\n\ncp -- "$1" "$2"\n').keys()
    assert not first.keys() & ids('cp -a -- "$1" "$2"\n').keys()


def test_a_sample_is_that_of_its_seed_even_over_operators_and_parses() -> None:
    """The rare operators are in it, and every mutant is a script that bash can read."""
    files = {file: FILES[file] for file in ("tm/shared/clone", "tm/shared/mv", "datastore/fs/cp")}
    made = derive(files)
    chosen = choose(made, files, 7, 40)
    assert chosen == choose(made, files, 7, 40) != choose(made, files, 8, 40)
    assert len(chosen) == 40
    assert {one.operator for one in chosen} >= {one.operator for one in made if one.operator in ("forget_mode", "smaller", "truncate", "do_nothing")}
    assert all(parses(mutated(files[one.file], one)) for one in chosen)


def test_without_every_one_in_three_lines_has_a_mutant_that_chance_picks() -> None:
    """More than 500 all the same; those of a script stay when another one changes."""
    chosen = apart(derive(FILES), FILES)
    assert len(chosen) > 500
    for one, other in pairwise(chosen):
        assert one.file != other.file or other.line - one.line >= 3
    alone = {"tm/shared/mv": FILES["tm/shared/mv"]}
    assert apart(derive(alone), alone) == [one for one in chosen if one.file == "tm/shared/mv"]
    broken = Mutant("0", "tm/x/y", 1, "skip_copy", "", "f() { cp a b;")
    whole = Mutant("1", "tm/x/y", 1, "skip_copy", "", "f() { :; }")
    assert apart([broken, whole], {"tm/x/y": "f() { cp a b; }\n"}) == [whole]


def test_what_bash_cannot_read_is_no_mutant() -> None:
    """An operator may spoil a line that it does not understand; that is seen."""
    files = {"tm/x/y": "f() { cp a b; }\n"}
    broken = Mutant("0", "tm/x/y", 1, "skip_copy", "", "f() { cp a b;")
    assert choose([broken], files, 0) == []


def test_actions_are_told_from_helpers() -> None:
    """What is done at the beginning of an action alone needs to know."""
    assert [
        is_action(file) for file in ("tm/shared/mv", "tm/shared/ln.ssh", "tm/disk_common.sh", "datastore/download", "datastore/backup/store.sh")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_every_reason_names_a_mutant_that_is_made() -> None:
    """A reason whose line has changed is to go."""
    rows = read_reasons()
    assert stale(rows, ((one.id, one.file) for one in derive(FILES))) == []
    assert stale(rows | {"0000000000": next(iter(rows.values()))}, ((one.id, one.file) for one in derive(FILES))) == ["0000000000"]
