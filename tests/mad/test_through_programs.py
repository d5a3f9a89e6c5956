"""Runs in which driver programs start the scripts: a right one changes nothing in the history, a broken one is found out and named, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from onereport.results import EXIT_NOT
from onesim.data import data_dir
from onesim.journal import head, normalised, read
from onesim.layout import MadProgram, Subjected
from onesim.mad.own import packed
from onesim.records import Call, CaseBegin, CaseEnd, Footer, Header, MadEnd, MadFault, MadLine, Record
from onesim.spec import for_contract
from onesim.world.interface import Limits
from onetck.driver import find_driver
from onetck.execution import Progress, execute
from onetck.judge import Judgement, judge
from onetck.plan import choose

pytestmark = pytest.mark.components
_OF_PROGRAMS = (Header, CaseEnd, Footer, MadLine, MadEnd, MadFault)
# the program and its files lie on the same memory as the datastores
_FREE = re.compile(rb"(free_mb\W+|FREE_MB\W+|USED_MB\W+|used_mb\W+)\d+")


REMOTES = data_dir("reference_driver") / "remotes"


def own(contract: str) -> list[MadProgram]:
    """Return our own programs, both."""
    spec = for_contract(contract)
    return [
        MadProgram("tm", "/usr/lib/one/mads/one_tm", ("-t", "15", "-d", "shared"), packed(spec, "tm")),
        MadProgram("datastore", "/usr/lib/one/mads/one_datastore", ("-t", "15", "-d", "fs", "-s", "shared"), packed(spec, "datastore")),
    ]


def play(out: Path, contract: str, cases: Sequence[str], mads: Sequence[MadProgram], time_s: float = 20, remotes: Path = REMOTES) -> Judgement:
    """Play cases with a driver, the reference driver if none is given, through these programs, and judge them."""
    out.mkdir(exist_ok=True)
    spec = for_contract(contract)
    driver = find_driver([remotes], "fs", "shared")
    subject = Subjected(driver.archive(spec.version), driver.datastore_mad, driver.tm_mad, driver.system_tm_mad, driver.helpers())
    subject = replace(subject, limits=Limits(time_s=time_s), mads=tuple(mads))
    execute(spec, driver, subject, choose(spec, subject, [], cases), out, jobs=2, progress=Progress(), command=["test"])
    history = out / "history.jsonl"
    return judge(read(history, Record), spec, spec.spec.profiles["core"], "history.jsonl", head(history), "onetck run --case {case}")


def histories(out: Path) -> dict[str, list[bytes]]:
    """Return the normalised records of each case, without those of programs."""
    found: dict[str, list[bytes]] = {}
    for record in read(out / "history.jsonl", Record):
        if not isinstance(record, _OF_PROGRAMS):
            found.setdefault(record.case, []).append(_FREE.sub(rb"\1", normalised(record)))
    return found


def verdicts(judgement: Judgement) -> dict[str, str]:
    """Return what is neither passed nor untested."""
    return {row.requirement: row.verdict for row in judgement.requirements if row.verdict not in ("pass", "not_tested", "not_applicable", "blocked")}


@pytest.mark.parametrize(
    ("contract", "cases"),
    [
        ("7.4", ["vm-example", "vm-retry", "vm-volatile", "image-raw", "image-refused", "host-down", "vm-files"]),
        ("5.12", ["vm-retry", "image-refused"]),
    ],
)
def test_our_own_programs_give_the_same_history(tmp_path: Path, contract: str, cases: list[str]) -> None:
    """Documents, transfer scripts, failures, a lost call and faults at gates: what is seen of the driver is the same as when the harness starts each script."""
    spec = for_contract(contract)
    play(tmp_path / "direct", contract, cases, [])
    judgement = play(tmp_path / "through", contract, cases, own(contract))
    direct, through = histories(tmp_path / "direct"), histories(tmp_path / "through")
    assert sorted(direct) == sorted(cases) == sorted(through)
    for case in cases:
        assert through[case] == direct[case], case
    assert not verdicts(judgement)
    passed = {row.requirement for row in judgement.requirements if row.verdict == "pass" and row.required}
    assert {row.id for row in spec.requirements.values() if row.action == "mad/*" and row.level == "MUST"} <= passed
    ends = [row for row in read(tmp_path / "through" / "history.jsonl", Record) if isinstance(row, MadEnd)]
    assert {row.mad for row in ends if row.scripts} == {"tm", "datastore"}


@pytest.mark.parametrize("case", ["images-together", "vms-together", "vm-given-up"])
def test_calls_overlap_through_programs_too(tmp_path: Path, case: str) -> None:
    """Several requests are open at once, some with one name and id; one is cancelled: the same calls as without programs."""
    play(tmp_path / "direct", "7.4", [case], [])
    judgement = play(tmp_path / "through", "7.4", [case], own("7.4"))
    direct, through = (
        sorted(
            (row.n, row.action, row.vm, row.disk, row.image, row.success)
            for row in read(tmp_path / name / "history.jsonl", Record)
            if isinstance(row, Call)
        )
        for name in ("direct", "through")
    )
    assert through == direct and not verdicts(judgement)
    records = list(read(tmp_path / "through" / "history.jsonl", Record))
    assert [row.outcome for row in records if isinstance(row, CaseEnd)] == ["completed"]
    cancelled = [row.line for row in records if isinstance(row, MadLine) and row.line.startswith("DRIVER_CANCEL")]
    assert bool(cancelled) == (case == "vm-given-up")


def test_a_program_gets_no_more_at_once_than_it_has_threads(tmp_path: Path) -> None:
    """Told -t 1, it takes one transfer script and one document after the other; what waits is asked then."""
    few = [replace(one, arguments=("-t", "1", *one.arguments[2:])) for one in own("7.4")]
    judgement = play(tmp_path, "7.4", ["images-together", "vms-together"], few)
    assert not verdicts(judgement)
    records = list(read(tmp_path / "history.jsonl", Record))
    assert [row.outcome for row in records if isinstance(row, CaseEnd)] == ["completed", "completed"]
    open_: dict[tuple[str, str], int] = {}
    for line in (row for row in records if isinstance(row, MadLine)):
        word = line.line.split()[0]
        if word in ("INIT", "LOG", "FINALIZE"):
            continue
        key = line.case, line.mad
        open_[key] = open_.get(key, 0) + (1 if line.to == "mad" else -1)
        assert 0 <= open_[key] <= 1, line


_ENDLESS = "#!/bin/bash\nexec sleep 60\n"
#: Scripts of the driver that are wrong: the script, its text, the case. Whose fault it is must not depend on who starts the script.
WRONG = [
    ("datastore/fs/cp", '#!/bin/bash\necho junk line\nexec "$0.orig" "$@"\n', "image-raw"),
    ("datastore/fs/stat", _ENDLESS, "image-raw"),
    ("datastore/fs/monitor", "#!/bin/bash\nprintf '\\377\\376'; printf '\\303\\n' >&2; kill -SEGV $$\n", "datastore-monitor"),
    ("tm/shared/clone", "#!/no/such/interpreter\n", "vm-example"),
    ("tm/shared/clone", "", "vm-example"),
    ("tm/shared/mkimage", "#!/bin/bash\nbomb() { bomb | bomb & }\nbomb\nsleep 100\n", "vm-volatile"),
    ("tm/shared/ln", '#!/bin/bash\nsleep 100 &\nexec "$0.orig" "$@"\n', "vm-example"),
]


@pytest.mark.turns(4)
@pytest.mark.parametrize(("script", "text", "case"), WRONG)
def test_a_wrong_script_is_judged_alike(tmp_path: Path, script: str, text: str, case: str) -> None:
    """Two lines of output, no end, a signal, no interpreter, no run bit, too many processes, one left behind: the same verdicts, and none on the programs."""
    remotes = tmp_path / "remotes"
    shutil.copytree(REMOTES, remotes)
    if text:
        (remotes / script).rename(remotes / f"{script}.orig")
        (remotes / script).write_text(text)
    (remotes / script).chmod(0o755 if text else 0o644)
    time_s = 3 if text == _ENDLESS else 20
    direct = play(tmp_path / "direct", "7.4", [case], [], time_s, remotes)
    through = play(tmp_path / "through", "7.4", [case], own("7.4"), time_s, remotes)
    assert verdicts(direct) and verdicts(through) == verdicts(direct)


def test_a_driver_that_kills_the_program_is_blamed_for_it(tmp_path: Path) -> None:
    """A script that signals everything of its user takes the program with it: that is the driver's doing."""
    remotes = tmp_path / "remotes"
    shutil.copytree(REMOTES, remotes)
    (remotes / "datastore/fs/stat").write_text("#!/bin/bash\nkill -9 -1\nsleep 1\necho 3\n")
    found = verdicts(play(tmp_path / "out", "7.4", ["image-raw"], own("7.4"), remotes=remotes))
    assert found["GEN-SIG-002"] == "fail" and not [name for name in found if name.startswith("MAD-")]


_PROGRAM = """#!/usr/bin/python3 -IS
import os, subprocess, sys, time
def say(*words):
    os.write(1, " ".join(map(str, words)).encode() + b"\\n")
def place(words):
    return "/var/lib/one/remotes/tm/" + words[1] + "/" + words[0].lower()
def run(words, stdin=subprocess.DEVNULL, **more):
    return subprocess.run([place(words), *words[2:]], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
def init():
    say("INIT SUCCESS - -")
def script(words):
    return run(words).returncode
def answer(id, failed):
    say("TRANSFER", "FAILURE" if failed else "SUCCESS", id, "-")
def transfer(id, file):
    failed = 0
    for line in open(file):
        failed = failed or script(line.split())
    answer(id, failed)
def finalize():
    sys.exit(0)
{breakage}
for line in sys.stdin:
    words = line.split()
    {{"INIT": init, "FINALIZE": finalize, "TRANSFER": transfer}}[words[0]](*words[1:])
"""


class Broken(NamedTuple):
    """A program broken in one way: what replaces the right functions, and the verdicts that it leads to."""

    name: str
    breakage: str
    breaks: dict[str, str]
    case: str = "vm-forced"


BROKEN = [
    Broken("nothing", "", {}),
    Broken("leaves files of its own", "def script(words): open('/tmp/mine', 'a').write('x'); return run(words).returncode", {}),
    Broken("starts not", "#!", {"MAD-INIT-001": "fail"}),
    Broken("dies at INIT", "def init(): sys.exit(3)", {"MAD-INIT-001": "fail"}),
    Broken("never answers INIT", "def init(): pass", {"MAD-INIT-001": "fail"}),
    Broken("refuses INIT", "def init(): say('INIT FAILURE - no')", {"MAD-INIT-001": "fail"}),
    Broken("dies at work", "def answer(id, failed): os.kill(os.getpid(), 9)", {"MAD-ANSWER-001": "fail"}),
    Broken("never answers", "def answer(id, failed): pass", {"MAD-ANSWER-001": "fail"}),
    Broken("answers nothing and runs nothing", "def transfer(id, file): time.sleep(100)", {"MAD-ANSWER-001": "fail"}),
    Broken("answers twice", "def answer(id, failed): [say('TRANSFER SUCCESS', id, '-') for _ in 'ab']", {"MAD-ANSWER-002": "fail"}),
    Broken("answers another", "def answer(id, failed): say('TRANSFER SUCCESS', 77, '-')", {"MAD-ANSWER-001": "fail", "MAD-ANSWER-002": "fail"}),
    Broken("prints bytes", "def script(words): os.write(1, b'\\x00\\xff\\xfe<b>\\n'); return run(words).returncode", {"MAD-LINE-001": "fail"}),
    Broken(
        "prints without end",
        "def answer(id, failed):\n    while True: os.write(1, b'x' * 79 + b'\\n')",
        {"MAD-ANSWER-001": "fail", "MAD-LINE-001": "fail"},
    ),
    Broken("drops an argument", "def script(words): return run(words[:-1]).returncode", {"MAD-CALL-001": "fail"}),
    Broken("gives a stdin", "def script(words): return run(words, None, input=b'more').returncode", {"MAD-CALL-001": "fail"}),
    Broken("skips the scripts", "def script(words): return 0", {"MAD-CALL-002": "fail"}),
    Broken(
        "runs another first",
        "def script(words): run(['CPDS', *words[1:2], 'host01:/tmp/x', '/tmp/y', '-1', '0', '0']); return run(words).returncode",
        {"MAD-CALL-003": "fail"},
    ),
    Broken("runs the last twice", "def script(words): run(words); return run(words).returncode", {"MAD-CALL-003": "fail"}, "vm-linked-delete"),
    Broken(
        "keeps stdin open",
        "def script(words): return subprocess.Popen([place(words), *words[2:]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL).wait()",
        {"MAD-CALL-004": "fail"},
    ),
    Broken("turns the result", "def answer(id, failed): say('TRANSFER FAILURE', id, 'no')", {"MAD-ANSWER-003": "fail"}),
    Broken(
        "has words of its own",
        "def answer(id, failed): say('TRANSFER', 'FAILURE' if failed else 'SUCCESS', id, 'mine')",
        {"MAD-ANSWER-004": "warn"},
        "host-down",
    ),
    Broken("does not end", "def finalize(): time.sleep(100)", {"MAD-END-001": "fail"}),
]


@pytest.mark.turns(4)
@pytest.mark.parametrize("broken", BROKEN, ids=lambda row: row.name.replace(" ", "-"))
def test_a_broken_program_is_named_and_the_driver_is_not(broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly its own requirements are broken, the run is not conformant, and no process of it is left."""
    spec = for_contract("7.4").spec
    monkeypatch.setattr(spec, "mad_wait", msgspec.structs.replace(spec.mad_wait, init_s=0.8, finalize_s=0.8))
    text = "#!/nowhere/interpreter\n" if broken.breakage == "#!" else _PROGRAM.format(breakage=broken.breakage)
    mark = f"/usr/lib/one/mads/broken-{os.getpid()}-{tmp_path.name}"
    judgement = play(tmp_path / "out", "7.4", [broken.case], [MadProgram("tm", mark, (), text.encode())], time_s=5)
    assert verdicts(judgement) == broken.breaks
    assert judgement.footer is not None
    fails = "fail" in broken.breaks.values()
    assert (judgement.footer.exit_code == EXIT_NOT) == fails
    assert ("The driver program breaks" in judgement.footer.sentence) == fails
    assert not [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark.encode() in command_line(entry)]
    (begin,) = [row for row in read(tmp_path / "out" / "history.jsonl", Record) if isinstance(row, CaseBegin)]
    assert begin.case == broken.case


def command_line(process: Path) -> bytes:
    """Return the command line of a process, nothing if it has gone."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_the_command_line_and_the_file_name_programs(tmp_path: Path) -> None:
    """`--mad` and `[mad]` of onetck.toml: both programs start the scripts, and the history says which they were."""
    (tmp_path / "onetck.toml").write_text(
        f"[driver]\npaths = ['{REMOTES}']\ndatastore = 'fs'\ntm = 'shared'\n[mad.datastore]\nprogram = 'own'\narguments = ['-t', '2', '-d', 'fs', '-s', 'shared']\n"
    )
    command = [sys.executable, "-m", "onetck.cli", "run", "--case", "vm-volatile", "--mad", "tm=own", "--out", "out"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
    records = list(read(tmp_path / "out" / "history.jsonl", Record))
    assert isinstance(records[0], Header)
    assert records[0].mads == (
        "tm: /usr/lib/one/mads/one_tm -t 15 -d ceph,libvirt_pool,shared,ssh",
        "datastore: /usr/lib/one/mads/one_datastore -t 2 -d fs -s shared",
    )
    assert {row.mad: row.scripts > 3 for row in records if isinstance(row, MadEnd)} == {"tm": True, "datastore": True}
    assert "MAD-" not in run.stdout and "tm through /usr/lib/one/mads/one_tm" in run.stderr
