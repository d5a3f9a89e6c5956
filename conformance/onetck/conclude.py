"""From the files of a run to its verdict and reports; nothing is executed."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from onereport import kills
from onereport.badge import render_badge
from onereport.html import render_html
from onereport.junit import write_junit
from onereport.markdown import render_markdown
from onereport.results import Result, ResultRecord, ResultsHeader
from onereport.sarif import render_sarif
from onereport.specsite import requirement_urls, write_site
from onesim.errors import ConfigError
from onesim.journal import Writer, head, read
from onesim.pool_datastores import pool_able
from onesim.records import Header, Record
from onesim.rows import Profile
from onesim.spec import ContractSpec
from onetck import provenance
from onetck.driver import Driver
from onetck.judge import Judgement, judge
from onetck.waivers import Waiver

#: The directory of a run that holds the history of the reference driver, where it was played beside the driver.
REFERENCE = "reference"
#: The file of a run that holds the kill matrix of its report, where it has one.
SELFTEST = kills.NAME
#: The directory of a run that holds the traces of its fault cases.
FAULTS = "faults"


def conclude(
    spec: ContractSpec,
    out: Path,
    profile: Profile,
    repeat: str,
    waivers: Sequence[Waiver] = (),
    known: Mapping[str, Sequence[Result]] = MappingProxyType({}),
) -> Judgement:
    """Judge the history in `out` and write results and reports beside it. `known` are the results of cases that were judged when they ended."""
    judgement = judged(spec, out, profile, repeat, waivers, known)
    write(spec, out, judgement, out / "history.jsonl")
    return judgement


def judged(
    spec: ContractSpec,
    out: Path,
    profile: Profile,
    repeat: str,
    waivers: Sequence[Waiver] = (),
    known: Mapping[str, Sequence[Result]] = MappingProxyType({}),
    take: Callable[[Result], None] | None = None,
) -> Judgement:
    """Judge the history in `out`; nothing is written. With `take` each result is handed to it, and none is kept."""
    history = out / "history.jsonl"
    judgement = judge(read(history, Record), spec, profile, history.name, head(history), repeat, waivers, _alone(out, repeat), take, known)
    alone = () if find_profile(spec, profile.name).digest == profile.digest else profile.requirements
    by = {"tool_sha256": provenance.tool_sha256(), "tables_sha256": spec.spec.sha256, "requirements": alone}
    judgement.header = msgspec.structs.replace(judgement.header, **by)
    return judgement


def _alone(out: Path, repeat: str) -> dict[str, str]:
    """Return the commands that repeat the fault cases of a run, by case. `repeat` is that of other cases."""
    return {path.stem: command(out, repeat, path.stem) for path in sorted((out / FAULTS).glob("*.jsonl"))}


def command(out: Path, repeat: str, case: str) -> str:
    """Return the command that repeats a case of a run; a fault case is played from its own trace. `repeat` is that of other cases, with `{case}`."""
    trace = out / FAULTS / f"{case}.jsonl"
    return (repeat.replace("--case {case}", f"--trace {_word(str(trace))}") if trace.is_file() else repeat).format(case=case)


def write(spec: ContractSpec, out: Path, judgement: Judgement, history: Path) -> None:
    """Write results, reports and the specification that the report leads into; `history` is what the report shows."""
    writer = Writer(out / "results.jsonl")
    for record in judgement.records():
        writer.write(record)
    writer.close()
    write_pages(spec, out, list(judgement.records()), history)


def stream(
    spec: ContractSpec, out: Path, profile: Profile, repeat: str, waivers: Sequence[Waiver], show: Callable[[Iterable[ResultRecord]], None]
) -> Judgement:
    """Judge the history in `out` and write its results alone, each as soon as it is known to a file without a name, as what stands before them is known last:
    no more memory is needed than for a case and the names of cases. `show` is given the records.
    """
    encode, decoder = msgspec.json.encode, msgspec.json.Decoder(Result)
    with tempfile.TemporaryFile(dir=out) as passing:

        def taken() -> Iterator[Result]:
            passing.seek(0)
            return (decoder.decode(line) for line in passing)

        def take(one: Result) -> None:
            passing.write(encode(one) + b"\n")

        judgement = judged(spec, out, profile, repeat, waivers, take=take)
        writer = Writer(out / "results.jsonl")
        for record in judgement.records(taken()):
            writer.write(record)
        writer.close()
        show(judgement.records(taken()))
    return judgement


def write_pages(spec: ContractSpec, out: Path, records: Sequence[ResultRecord], history: Path) -> None:
    """Write the reports of results, and the specification that they lead into."""
    write_site(spec.spec, out / "spec")
    write_reports(spec, out, records, history)


def write_reports(spec: ContractSpec, out: Path, records: Sequence[ResultRecord], history: Path) -> None:
    """Write report, JUnit, summary, badge and SARIF of results; `history` is what the report shows."""
    links = {id: f"spec/{url}" for id, url in requirement_urls(spec.spec).items()}
    beside = history.parent / REFERENCE / "history.jsonl"
    played = read(beside, Record) if beside.is_file() else ()
    page = render_html(records, read(history, Record), history.parent / "blobs", links, played, kills.read_selftest(history.parent / SELFTEST))
    (out / "report.html").write_text(page, encoding="utf-8")
    write_junit(records, out / "junit.xml")
    (out / "summary.md").write_text(render_markdown(records), encoding="utf-8")
    (out / "badge.svg").write_text(render_badge(records), encoding="utf-8")
    (out / "results.sarif").write_bytes(render_sarif(records))


def find_profile(spec: ContractSpec, names: str) -> Profile:
    """Return a profile by name, or what several of them, parted by commas, demand together. Raises ConfigError for an unknown one."""
    chosen = []
    for name in names.split(","):
        if name.strip() not in spec.spec.profiles:
            raise ConfigError(f"profile {name!r} is unknown; choose of {', '.join(spec.spec.profiles)}")
        chosen.append(spec.spec.profiles[name.strip()])
    if len(chosen) == 1:
        return chosen[0]
    requirements = tuple(dict.fromkeys(id for profile in chosen for id in profile.requirements))
    return Profile(", ".join(profile.name for profile in chosen), "; ".join(profile.title for profile in chosen), requirements)


def recorded_demands(spec: ContractSpec, results: Path) -> Profile:
    """Return what a run was judged against: its profiles, or those of their requirements that were asked for alone; core where nobody has judged it yet.

    Raises ConfigError for a profile that these tables do not have.
    """
    header = next(iter(read(results, ResultRecord)), None) if results.exists() else None
    profile = find_profile(spec, header.profile if isinstance(header, ResultsHeader) else "core")
    asked = header.requirements if isinstance(header, ResultsHeader) else ()
    return msgspec.structs.replace(profile, requirements=asked) if asked else profile


def claimable(spec: ContractSpec, driver: Driver, template: Mapping[str, str] | None = None, *, shared: bool) -> list[str]:
    """Return the names of the profiles whose actions a driver has. `template` is that of its image datastore, `shared` tells its layout."""
    layouts = {"", "shared" if shared else "not_shared", "mixed" if driver.tm_mad != driver.system_tm_mad else ""}
    known = {action.key for action in spec.spec.actions if action.key in spec.actions}
    return [
        profile.name
        for profile in spec.spec.profiles.values()
        if not profile.named
        and profile.layout in layouts
        and all(name in (template or {}) for name in profile.attributes)
        and (not profile.pool or pool_able(template or {}, profile.pool))
        and all(name in known and driver.has(name) for name in profile.needs)
    ]


def repeat_command(words: Sequence[str]) -> str:
    """Return the command that repeats one case of a run with these words, with `{case}` for its name."""
    return " ".join(_word(word) for word in ("onetck", "run", *words)) + " --case {case}"


def _word(word: str) -> str:
    """Return a word for a shell, in a text that is yet to be formatted."""
    return shlex.quote(word).replace("{", "{{").replace("}", "}}")


def recorded_contract(history: Path) -> str:
    """Return the contract that a history was made under. Raises ConfigError for a file without header."""
    header = next(iter(read(history, Record)), None)
    if not isinstance(header, Header):
        raise ConfigError(f"{history}: holds no history; give the directory of a run")
    return header.contract
