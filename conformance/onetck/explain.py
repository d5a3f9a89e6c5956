"""What an id, a verdict or an exit code means, in a few lines for a person."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator

from onereport.results import broken_before
from onesim.contracts import in_range
from onesim.errors import ConfigError
from onesim.rows import Discrepancy, Requirement
from onesim.spec import Spec
from onetck.checks import CHECKS


def explain(spec: Spec, name: str) -> list[str]:
    """Return the lines that explain a requirement, a discrepancy, a verdict or an exit code. Raises ConfigError, with what is near, for anything else."""
    word = name.strip()
    requirement = next((row for row in spec.requirements if row.id == word.upper()), None)
    if requirement is not None:
        return list(_requirement(spec, requirement))
    discrepancy = next((row for row in spec.discrepancies if row.id == word.upper()), None)
    if discrepancy is not None:
        return list(_discrepancy(discrepancy))
    verdict = spec.verdicts.get(word.lower().replace(" ", "_").replace("-", "_"))
    if verdict is not None:
        return [f"{verdict.name}: {verdict.meaning}", f"fault of: {verdict.blame}", f"what to do: {verdict.remedy}"]
    code = word.lower().removeprefix("exit").strip()
    if code.isdigit() and int(code) in spec.exits:
        row = spec.exits[int(code)]
        return [f"exit {row.code}: {row.meaning}", f"what to do: {row.remedy}"]
    retired = {id: chapter.title for chapter in spec.chapters.values() for id in chapter.retired}
    if word.upper() in retired:
        return [f"{word.upper()}: retired; it was a requirement of {retired[word.upper()]!r} and its id is never used again"]
    raise ConfigError(f"{name!r} is no requirement, discrepancy, verdict or exit code{_near(spec, word)}")


def _near(spec: Spec, word: str) -> str:
    ids = [row.id for row in spec.requirements] + [row.id for row in spec.discrepancies]
    near = difflib.get_close_matches(word.upper(), ids, 3, 0.5) or difflib.get_close_matches(word.lower(), spec.verdicts, 2, 0.5)
    return f"; near it: {', '.join(near)}" if near else "; `onetck spec` lists what there is"


def holding(spec: Spec, row: Requirement) -> list[str]:
    """Return the contracts for which a requirement holds."""
    return [one.name for one in spec.contracts if in_range(one.version, row.since, row.until)]


def _requirement(spec: Spec, row: Requirement) -> Iterator[str]:
    yield f"{row.id} ({row.level}, {row.action}): {row.sentence}"
    if row.applies:
        yield f"applies: {row.applies}"
    held = holding(spec, row)
    yield "contracts: " + ("all" if len(held) == len(spec.contracts) else ", ".join(held) or "none of those known")
    yield f"source: {row.source}"
    if row.check:
        what = (inspect.getdoc(CHECKS[row.check]) or "").splitlines()
        yield f"checked by {row.check}: {what[0] if what else 'see conformance/onetck/checks'}"
        if row.when:
            yield "only where " + "; ".join(f"{key} is {' or '.join(values)}" for key, values in row.when.items())
    else:
        yield f"not tested: {row.untestable}"
    profiles = [profile.name for profile in spec.profiles.values() if row.id in profile.requirements]
    yield f"profiles: {', '.join(profiles) or 'none'}"
    related = [one.id for one in spec.discrepancies if row.id in one.requirements]
    if related:
        yield f"the guides say otherwise: {', '.join(related)}"
    for complaint in spec.complaints:
        if row.id in complaint.requirements:
            yield f"{broken_before([complaint.reference])}: {complaint.symptom}"


def _discrepancy(row: Discrepancy) -> Iterator[str]:
    yield f"{row.id}: {row.topic}" + (f" ({', '.join(row.actions)})" if row.actions else "")
    yield f"the guide {' and '.join(row.guides)} says: {row.promised} [{row.promised_source}]"
    yield f"oned does: {row.holds} [{row.holds_source}]"
    yield f"what to do: {row.advice}"
    if row.requirements:
        yield f"requirements: {', '.join(row.requirements)}"
