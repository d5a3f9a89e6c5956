"""From the files of a run to its verdict and reports; nothing is executed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from onereport.html import render_html
from onereport.junit import write_junit
from onereport.specsite import requirement_url, write_site
from onesim.errors import ConfigError
from onesim.journal import Writer, head, read
from onesim.records import Header, Record
from onesim.rows import Profile
from onesim.spec import ContractSpec
from onetck.judge import Judgement, judge


def conclude(spec: ContractSpec, out: Path, profile: str, repeat: str) -> Judgement:
    """Judge the history in `out` and write results, report, JUnit and the specification beside it; the report leads into the specification."""
    history = out / "history.jsonl"
    records = read(history, Record)
    chain = head(history)
    judgement = judge(records, spec, find_profile(spec, profile), history.name, chain, repeat)
    writer = Writer(out / "results.jsonl")
    for record in judgement.records():
        writer.write(record)
    writer.close()
    write_site(spec.spec, out / "spec")
    links = {row.id: f"spec/{requirement_url(row.id, spec.spec)}" for row in spec.spec.requirements}
    (out / "report.html").write_text(render_html(judgement.records(), read(history, Record), out / "blobs", links), encoding="utf-8")
    write_junit(judgement.records(), out / "junit.xml")
    return judgement


def find_profile(spec: ContractSpec, name: str) -> Profile:
    """Return a profile by name. Raises ConfigError for an unknown one."""
    if name not in spec.spec.profiles:
        raise ConfigError(f"profile {name!r} is unknown; choose one of {', '.join(spec.spec.profiles)}")
    return spec.spec.profiles[name]


def repeat_command(driver_paths: Sequence[Path], options: Sequence[str]) -> str:
    """Return the command that repeats one case, with `{case}` for its name."""
    words = ["onetck", "run", *(str(path) for path in driver_paths), *options]
    return " ".join(shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words) + " --case {case}"


def recorded_contract(history: Path) -> str:
    """Return the contract that a history was made under. Raises ConfigError for a file without header."""
    header = next(iter(read(history, Record)), None)
    if not isinstance(header, Header):
        raise ConfigError(f"{history}: holds no history; give the directory of a run")
    return header.contract
