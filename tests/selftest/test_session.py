"""A self-test: what is kept between runs, what counts as a kill, how it ends; and, with real hosts, that a seeded sample is killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from onereport.results import EXIT_NO_VERDICT, EXIT_NOT, EXIT_USAGE
from onesim.coverage import printed
from onesim.errors import ConfigError, SpecError
from onesim.spec import for_contract
from onesim.trace import Step, Trace, TraceHeader
from onetck.cli import main
from onetck.faulting import Place
from onetck.selftest import playing, trial
from onetck.selftest.baseline import Baseline, CaseSeen, Role, measure, roles
from onetck.selftest.choosing import chosen
from onetck.selftest.command import exit_code
from onetck.selftest.mutants import Mutant
from onetck.selftest.playing import Played
from onetck.selftest.reasons import read_reasons
from onetck.selftest.results import Results, count
from onetck.selftest.show import outcome_of
from onetck.selftest.source import mentions, uses, within_reach
from onetck.selftest.striking import Striking, Struck
from onetck.selftest.trial import Bench, Trial, attempt

FILE = "tm/shared/mkswap"
_TRACE = '{"trace": 1, "name": "fault-tm-mkswap-mkswap-1-fails", "title": "a fault"}\n{"op": "datastore.monitor", "datastore": "images"}\n'
MUTANT = Mutant("0123456789", FILE, 3, "drop_command", "a", ":")


def _seen(case: str, duration_s: float, lines: list[int], role: str = "shared") -> CaseSeen:
    return CaseSeen(f"{role}/{case}", role, case, duration_s, 0.1, {}, (), {FILE: lines})


@pytest.fixture(scope="module")
def shared() -> Role:
    """The role of shared storage."""
    (role,) = roles(["shared"])
    return role


def _bench(role: Role, cases: list[CaseSeen], text: str = "1\n2\na\n4 |\n5\n", reasons: dict[str, str] | None = None) -> Bench:
    return Bench({FILE: text}, Baseline(cases), {"shared": role}, reasons or {})


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> dict[str, Played]:
    """What cases come to, by name, in place of playing them. Those that are not set come to nothing bad."""
    found: dict[str, Played] = {}

    def stand_in(spec: object, subject: object, case: object, required: object) -> Played:
        return found.get(case.trace.name, Played({}))  # type: ignore[attr-defined]

    monkeypatch.setattr(trial, "play", stand_in)
    return found


def test_the_cheapest_case_that_runs_the_line_is_tried_first_and_the_first_kill_ends_it(shared: Role, played: dict[str, Played]) -> None:
    """vm-retry would kill it too, image-raw does not run the line."""
    played |= {name: Played({"TM-MKSWAP-001": "fail"}) for name in ("vm-volatile", "vm-retry", "image-raw")}
    cases = [_seen("vm-retry", 3, [3]), _seen("vms-together", 1, [3]), _seen("vm-volatile", 2, [3]), _seen("image-raw", 0.1, [9])]
    found = attempt(_bench(shared, cases), MUTANT)
    assert (found.outcome, found.requirement, found.verdict, found.case, found.tried) == ("killed", "TM-MKSWAP-001", "fail", "vm-volatile", 2)


def test_a_harness_error_and_a_broken_should_are_no_kills(shared: Role, played: dict[str, Played]) -> None:
    """Only a fail, a crash or a timeout of a required requirement kills."""
    cases = [_seen("vm-volatile", 1, [3]), _seen("vm-retry", 2, [3])]
    played["vm-volatile"] = Played({}, ("TM-ALL-009",))
    assert attempt(_bench(shared, cases), MUTANT) == Trial(MUTANT, "warned", tried=2, warned=("TM-ALL-009",))
    played["vm-retry"] = Played({}, error="no room")
    found = attempt(_bench(shared, cases), MUTANT)
    assert (found.outcome, found.case, found.reason) == ("error", "vm-retry", "no room")


def test_a_kill_says_whether_a_profile_requires_what_is_broken(shared: Role, played: dict[str, Played]) -> None:
    """Of several broken requirements one of a profile is named."""
    cases = [_seen("vm-volatile", 1, [3])]
    played["vm-volatile"] = Played({"TM-CLONE-010": "fail"})
    assert (attempt(_bench(shared, cases), MUTANT).requirement, attempt(_bench(shared, cases), MUTANT).certified) == ("TM-CLONE-010", False)
    played["vm-volatile"] = Played({"AAA": "fail", "TM-MKSWAP-001": "crash"})
    found = attempt(_bench(shared, cases), MUTANT)
    assert (found.requirement, found.verdict, found.certified) == ("TM-MKSWAP-001", "crash", True)


def test_what_is_bad_with_the_driver_as_it_is_kills_nothing(shared: Role, played: dict[str, Played]) -> None:
    """The difference to the baseline counts."""
    played["vm-retry"] = Played({"A": "fail"})
    assert attempt(_bench(shared, [replace_bad(_seen("vm-retry", 1, [3]), {"A": "fail"})]), MUTANT).outcome == "survived"


def replace_bad(seen: CaseSeen, bad: dict[str, str]) -> CaseSeen:
    """Return a case that has bad verdicts already."""
    return msgspec.structs.replace(seen, bad=bad)


def test_a_line_that_no_case_runs_is_not_covered_and_an_explained_mutant_is_not_tried(shared: Role, played: dict[str, Played]) -> None:
    """Neither starts a world."""
    bench = _bench(shared, [_seen("vm-retry", 1, [4])])
    assert attempt(bench, MUTANT).outcome == "not_covered"
    assert attempt(_bench(shared, [], reasons={MUTANT.id: "why"}), MUTANT) == Trial(MUTANT, "equivalent", reason="why")


def test_a_line_that_goes_on_is_run_where_the_line_above_is(shared: Role) -> None:
    """bash tells of a command by one of its lines, which may be the last one."""
    bench = _bench(shared, [_seen("vm-retry", 1, [4])])
    assert [one.case for one in bench.reach(msgspec.structs.replace(MUTANT, line=5))] == ["vm-retry"]
    bench = _bench(shared, [_seen("vm-retry", 1, [1])], "case $a in\n    b) ;;\n    c | d) ;;\n    e) f ;;\nesac\n")
    assert [one.case for one in bench.reach(msgspec.structs.replace(MUTANT, line=3))] == ["vm-retry"]
    assert bench.reach(msgspec.structs.replace(MUTANT, line=4)) == []
    bench = _bench(shared, [_seen("vm-retry", 1, [4])], "f\na=$({\n    b |\n        c; } 2>&1) && d\ne\n")
    assert [one.case for one in bench.reach(msgspec.structs.replace(MUTANT, line=3))] == ["vm-retry"]
    assert bench.reach(msgspec.structs.replace(MUTANT, line=5)) == []


def test_faults_are_tried_where_no_case_finds_a_mutant(shared: Role, played: dict[str, Played]) -> None:
    """Also on a line that no case runs. The one that is killed names the fault."""
    fault = Struck("0", "tm/mkswap", "mkswap", _seen("fault-tm-mkswap-mkswap-1-fails", 1, [3]), _TRACE)

    class Faults:
        def reaching(self, file: str, line: int) -> list[Struck]:
            return [fault] if (file, line) == (FILE, 3) else []

    played["fault-tm-mkswap-mkswap-1-fails"] = Played({"GEN-FAULT-001": "fail"})
    for cases, tried in (([_seen("vm-retry", 1, [3])], 2), ([], 1)):
        bench = replace(_bench(shared, cases), striking=Faults())  # type: ignore[arg-type]
        found = attempt(bench, MUTANT)
        assert (found.outcome, found.case, found.tried) == ("killed", "fault-tm-mkswap-mkswap-1-fails", tried)
    assert attempt(bench, msgspec.structs.replace(MUTANT, line=5)).outcome == "not_covered"


def test_the_actions_that_may_come_to_a_line_of_a_helper_are_found_by_the_names_of_functions() -> None:
    """Also where one function calls another; what stands in no function is run by all that source the file. A command that has the name of an action is none."""
    files = {
        "a.sh": "one() {\n    cp a b\n}\n\ntwo() { one; }\numask 7\n",
        "tm/x/direct": "source a.sh\none\n",
        "tm/x/other": "source a.sh\ntwo 1\n",
        "tm/x/none": "source a.sh\nthree\n",
        "tm/x/more": "direct\n",
    }
    assert mentions(files, "a.sh", 2) == {"tm/x/direct", "tm/x/other"}
    assert mentions(files, "a.sh", 5) == {"tm/x/other"}
    assert mentions(files, "a.sh", 6) == {"tm/x/direct", "tm/x/other", "tm/x/none"}


@pytest.mark.turns(4)
@pytest.mark.components
def test_a_fault_case_is_measured_once_and_kills_what_hides_a_failure(shared: Role) -> None:
    """mkswap that fails on a host is no success; the fault cases of the action are kept by their key."""
    files = {name: path.read_text() for name, path in shared.setting.driver.files.items() if path.read_bytes().startswith(b"#!/bin/bash")}
    case = Role("shared", shared.setting, shared.required, {"vm-volatile": shared.cases["vm-volatile"]})
    base = measure([case], {}, 2, lambda seen: None)
    told: list[Struck] = []
    striking = Striking(base, {"shared": case}, files, {}, told.append)
    (line,) = (n for n, row in enumerate(files[FILE].split("\n"), 1) if row.startswith("on_host"))
    row = files[FILE].split("\n")[line - 1]
    bench = Bench(files, base, {"shared": case}, {}, 2, striking)
    found = attempt(bench, Mutant("0", FILE, line, "ignore_failure", row, f"({row}) || :"))
    assert (found.outcome, found.case.startswith("fault-tm-mkswap-")) == ("killed", True)
    assert {one.action for one in told} == {"tm/mkswap"}
    assert len({one.key for one in told}) == len(told)
    measured = len(told)
    again = Striking(base, {"shared": case}, files, {one.key: one for one in told}, told.append)
    assert next(again.reaching(FILE, line)).seen.case.startswith("fault-tm-mkswap-")
    assert len(told) == measured


def test_faults_come_where_the_line_runs() -> None:
    """What a host function runs is struck on a host before it is struck on the front-end; of answers that are not heard two come first."""
    spec = for_contract("7.4").spec
    places = {
        f"{host}-{command}-{kind}-{n}": Place("c", 0, "tm/clone", 0, spec.faults[kind], (), 1, host, command, n)
        for kind, host, command, n in (
            *(("cut", "frontend", "qemu-img", n) for n in (1, 2)),
            ("cut", "host01", "qemu-img", 1),
            *(("unheard", "frontend", "ssh", n) for n in (3, 2, 1)),
            ("fails", "host01", "mv", 1),
        )
    }
    texts = {"h.sh": "host_grow() {\n    trap 'rm x' EXIT\n    qemu-img resize x\n}\ngrow() {\n    qemu-img resize x\n    :\n}\n"}
    striking = Striking(Baseline([]), {}, texts, {})
    assert striking._ranked(places, "h.sh", 2)[:3] == ["frontend-ssh-unheard-3", "host01-qemu-img-cut-1", "frontend-ssh-unheard-2"]
    assert striking._ranked(places, "h.sh", 7)[:4] == [
        "frontend-ssh-unheard-3",
        "frontend-qemu-img-cut-1",
        "frontend-ssh-unheard-2",
        "frontend-qemu-img-cut-2",
    ]
    assert striking._ranked(places, "h.sh", 3)[:2] == ["frontend-qemu-img-cut-1", "frontend-ssh-unheard-3"]


_TEXTS = {FILE: "source a.sh\n\none $size\n4\n", "a.sh": "one() {\n    two\n}\ntwo() { :; }\nthree() { :; }\n"}


def _chosen(cases: list[CaseSeen], traces: dict[str, Trace] | None = None, most: int = 0) -> list[tuple[str, str]]:
    return [(one.role, one.case) for one in chosen(cases, traces or {}, _TEXTS, FILE, 3, most)]


def test_a_case_is_played_in_every_role_that_reaches_the_line() -> None:
    """Another host is the same on shared storage, and a fault where hosts have storage of their own."""
    base = Baseline([_seen("a", 2, [3]), _seen("b", 1, [4]), _seen("a", 1, [3], "ssh"), _seen("a", 9, [3], "oldest")])
    assert _chosen(base.reaching(FILE, 3)) == [("ssh", "a"), ("shared", "a"), ("oldest", "a")]
    assert base.runs(FILE, 4) and not base.runs(FILE, 5)


def test_after_the_cheapest_case_come_those_that_run_other_lines() -> None:
    """What the line may come to counts before the rest of the script. What goes the way of another case is not played where there are enough."""
    cases = [_seen(str(n), n, [3]) for n in range(9, 0, -1)] + [_seen("other", 20, [3, 4])]
    assert _chosen(cases, most=4) == [("shared", name) for name in ("1", "other", "2", "3")]
    assert len(_chosen(cases)) == 10
    deeper = msgspec.structs.replace(_seen("deeper", 30, [3]), lines={FILE: [3], "a.sh": [2, 4]})
    unrelated = msgspec.structs.replace(_seen("unrelated", 5, [3]), lines={FILE: [3], "a.sh": [5]})
    assert _chosen([*cases, deeper, unrelated], most=3) == [("shared", name) for name in ("1", "deeper", "other")]
    assert sorted(within_reach(_TEXTS, FILE, 3)) == [("a.sh", 1, 3), ("a.sh", 4, 4)]


def test_one_case_is_of_another_contract_where_one_runs_the_line() -> None:
    """What a line has to do with the contract is seen under another one alone."""
    deep = [msgspec.structs.replace(_seen(f"deep{n}", 30 + n, [3]), lines={FILE: [3], "a.sh": [n]}) for n in (2, 4)]
    new = [*(_seen(str(n), n, [3]) for n in range(1, 9)), *deep]
    assert _chosen(new, most=3) == [("shared", "1"), ("shared", "deep2"), ("shared", "deep4")]
    old = [_seen("short", 3, [3], "oldest"), _seen("long", 40, [3, 4], "oldest")]
    assert _chosen([*new, *old], most=3) == [("shared", "1"), ("shared", "deep2"), ("oldest", "long")]
    assert _chosen([*new, _seen("first", 0.5, [3], "oldest")], most=3) == [("oldest", "first"), ("shared", "deep2"), ("shared", "deep4")]


def test_what_a_helper_sets_for_other_scripts_is_tried_under_each_older_contract() -> None:
    """A line of a helper outside of functions sets a variable; where another script asks for it, all branches count, and each older role is played."""
    texts = {
        "h.sh": "read -r contract <VERSION\nf() {\n    contract=x\n}\n",
        FILE: 'case $contract in\n    old) a ;;\n    *) b ;;\nesac\necho "${contract}"\necho $contracts\n',
    }
    assert list(uses(texts, "h.sh", 1)) == [(FILE, 1, 4), (FILE, 5, 5)]
    assert list(uses(texts, "h.sh", 3)) == [] == list(uses(texts, FILE, 1))
    rows = [*((str(n), "shared") for n in range(6)), ("first", "hybrid"), ("second", "hybrid"), ("third", "oldest")]
    seen = [
        msgspec.structs.replace(_seen(name, n, [2], role), lines={FILE: [2, 5] if role == "shared" else [2], "h.sh": [1]})
        for n, (name, role) in enumerate(rows)
    ]
    assert sorted(one.role for one in chosen(seen, {}, texts, "h.sh", 1, 4)) == ["hybrid", "oldest", "shared", "shared"]


def test_a_case_whose_trace_has_the_words_of_the_line_is_played_early() -> None:
    """A line about a size is tried with a case that gives one, where few do."""
    cases = [_seen(str(n), n, [3]) for n in range(1, 9)]
    traces = {one.key: Trace("", TraceHeader(1, one.case, ""), (Step(2, "vm.resize", {"size_mb": 4} if one.case == "7" else {}),)) for one in cases}
    assert [name for _, name in _chosen(cases, traces, 3)] == ["1", "7", "2"]


def test_results_go_on_where_they_stood_and_begin_anew_for_another_suite(tmp_path: Path) -> None:
    """A last line that was cut off is done again, and so is what the harness did wrong."""
    first = Results(tmp_path, "one")
    kill = Trial(MUTANT, "killed", "A", "fail", "c")
    first.add(kill)
    first.add(Trial(msgspec.structs.replace(MUTANT, id="1"), "error"))
    first.keep(_seen("a", 1, [1]))
    with (tmp_path / "trials.jsonl").open("ab") as file:
        file.write(b'{"mutant":{"id":"2"')
    again = Results(tmp_path, "one")
    assert again.done == {MUTANT.id: kill}
    assert list(again.cases) == ["shared/a"]
    assert Results(tmp_path, "two").done == {}
    assert list(Results(tmp_path, "two").cases) == ["shared/a"]


def test_results_that_cannot_be_kept_are_a_matter_of_the_command_line(tmp_path: Path) -> None:
    """One line names the place and the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--out"):
        Results(tmp_path / "file", "one")


def test_lines_that_no_case_runs_count_against_the_rate_and_equivalents_do_not() -> None:
    """19 of 20 are enough, 18 of 20 are not; errors of the harness and stale reasons are told."""

    def outcome(*outcomes: str, stale: tuple[str, ...] = ()) -> int:
        return exit_code(outcome_of([Trial(MUTANT, one) for one in outcomes], 1.0, 20, None, stale))

    good = ("killed",) * 19
    assert count([Trial(MUTANT, one) for one in (*good, "not_covered", "equivalent")]).rate == 0.95
    assert outcome(*good, "survived", "equivalent") == 0
    assert outcome(*good[:18], "not_covered", "survived") == EXIT_NOT
    assert outcome(*good, "survived", "warned") == 0
    assert outcome(*good[:18], "survived", "warned") == EXIT_NOT
    assert outcome(*good, "error") == EXIT_NO_VERDICT
    assert outcome(*good, stale=("1",)) == EXIT_NOT


def test_reasons_are_refused_without_words_and_twice(tmp_path: Path) -> None:
    """A table that proves too much proves nothing."""
    row = '[[equivalent]]\nfile = "a"\nids = ["1"]\nreason = "{}"\n'
    for text, said in ((row.format(""), "no reason"), (row.format("a") * 2, "twice"), ("[[equivalent]]\nfil = 1", "fil")):
        (tmp_path / "t.toml").write_text(text)
        with pytest.raises(SpecError, match=said):
            read_reasons(tmp_path / "t.toml")


@pytest.mark.parametrize(("words", "said"), [(["--only", "tm/shared/nothing"], "tm/shared/nothing"), (["--role", "san"], "san")])
def test_a_choice_that_cannot_be_is_one_line(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names what is wrong and what there is."""
    with pytest.raises(SystemExit) as ended:
        main(["selftest", "--out", str(tmp_path), *words])
    assert ended.value.code == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_the_lines_of_functions_that_hosts_get_are_found_again() -> None:
    """`declare -f` lays a function out anew; comments go, and what stood on one line is spread over several."""
    rows = [
        "#!/bin/bash",
        "host_b() { touch -- a; }",
        "# a",
        "host_a() {",
        "    # why",
        "    local one=$1",
        "    case $one in",
        "        x) cp a b ;;",
        "        *) touch a ;; # else",
        "    esac",
        "    [[ -e $one ]] || { rm a && rm b; }",
        "    sync a",
        "}",
    ]
    found = {name: printed({"tm/x.sh": "\n".join(rows) + "\n"}, name) for name in ("host_a", "host_b")}
    # the printed rows: local, case, x), cp, ;;, *), touch, ;;, esac, [[, rm, }, sync
    assert list(found["host_a"].lines(0)) == [("tm/x.sh", 6)]
    assert [line for offset in range(13) for _, line in found["host_a"].lines(offset)] == [6, 7, 8, 8, 8, 9, 9, 9, 10, 11, 11, 11, 12]
    assert list(found["host_b"].lines(0)) == [("tm/x.sh", 2)]
    assert list(found["host_b"].lines(7)) == []


@pytest.mark.components
def test_the_baseline_tells_the_lines_that_a_case_runs_here_and_on_hosts(shared: Role) -> None:
    """image-refused brings images that are not taken: stat goes no further than the path, and no script of the transfer driver runs."""
    case = Role("shared", shared.setting, shared.required, {name: shared.cases[name] for name in ("image-refused", "vm-linked-delete")})
    told: list[str] = []
    base = measure([case], {}, 2, lambda seen: told.append(seen.case))
    refused, linked = base.cases
    assert sorted(told) == ["image-refused", "vm-linked-delete"]
    stat = shared.setting.driver.files["datastore/fs/stat"].read_text().split("\n")
    (checked,) = (n for n, line in enumerate(stat, 1) if line.startswith("check_path"))
    assert checked in refused.lines["datastore/fs/stat"]
    assert checked + 1 not in refused.lines["datastore/fs/stat"]
    assert not any(file.startswith("tm/shared/") for file in refused.lines)
    delete = shared.setting.driver.files["tm/shared/delete"].read_text().split("\n")
    (removes,) = (n for n, line in enumerate(delete, 1) if line.strip().startswith("rm -rf"))
    assert removes in linked.lines["tm/shared/delete"], "it runs on the host alone"
    assert not any(file.startswith(("tm/ssh/", "ceph")) for file in linked.lines)


@pytest.mark.components
def test_a_call_that_hangs_ends_the_case_and_is_a_timeout(shared: Role, tmp_path: Path) -> None:
    """A mutant that never ends costs its limit once."""
    script = tmp_path / "stat"
    script.write_text("#!/bin/bash\nsleep 60\n")
    script.chmod(0o755)
    setting = shared.setting
    subject = playing.with_file(setting.subject, setting.driver, setting.spec, "datastore/fs/stat", script)
    subject = replace(subject, limits=replace(subject.limits, time_s=1.0))
    found = playing.play(setting.spec, subject, shared.cases["image-names"], shared.required)
    assert "timeout" in found.bad.values()
    assert found.duration_s < 10


@pytest.mark.components
def test_a_seeded_sample_of_mutants_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """None survives that is not explained; what breaks no more than a SHOULD is seen all the same."""
    words = ["--only", "tm/shared/monitor", "--role", "shared", "--every", "--sample", "20", "--seed", "1", "--jobs", "2"]
    with pytest.raises(SystemExit) as ended:
        main(["selftest", *words, "--json", "--out", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert [(one["outcome"], one["mutant"]) for one in found["trials"] if one["outcome"] not in ("killed", "warned", "equivalent")] == []
    assert found["counts"]["killed"] >= 15
    assert ended.value.code == 0
