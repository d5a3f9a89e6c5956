"""What a run can say of the profiles and of the rows for oned.conf: the facts that go into the results, from which reports tell what was observed."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onereport.results import ConfLine, ProfileRow, ShownBy
from onereport.spec_tables import ShownRow, documents
from onesim.records import ConfRow, Header
from onesim.rows import Profile
from onesim.spec import ContractSpec, Spec

#: What a profile is for that belongs to a layout, in words.
_LAYOUTS = {
    "shared": "for system datastores that the hosts share",
    "not_shared": "for system datastores that hosts have for themselves",
    "mixed": "for an image datastore whose VMs run on the system datastores of another driver",
}


def profile_rows(spec: ContractSpec, header: Header, chosen: Profile, shared: Collection[str]) -> Iterator[ProfileRow]:
    """Yield a row for each profile. `chosen` is what the run is about, `shared` the values of SHARED that its system datastores had."""
    layouts = {{"YES": "shared", "NO": "not_shared"}[one] for one in shared}
    layouts |= {"mixed"} if header.tm_mad != header.system_tm_mad else set()
    names = chosen.name.split(", ")
    for row in spec.spec.profiles.values():
        yield ProfileRow(
            row.name,
            row.title,
            tuple(id for id in row.requirements if id in spec.requirements),
            row.name in header.claimed,
            row.name in names,
            _level(spec.spec, row.name),
            tuple(action for action in row.needs if action in header.described.lacking),
            _LAYOUTS[row.layout] if layouts and row.layout and row.layout not in layouts else "",
            bool(row.of) and set(row.requirements) <= set(spec.spec.profiles[row.of].requirements),
        )


def _level(spec: Spec, profile: str) -> str:
    """Return the lowest level that demands a profile of a driver that claims it."""
    return next((level.name for level in spec.levels.values() if level.claimed or profile in level.profiles), "")


def conf_lines(spec: ContractSpec, header: Header) -> Iterator[ConfLine]:
    """Yield the rows for oned.conf of the driver's description, each with what shows whether it is true under the contract."""
    rows = [row for row in documents(spec.spec).shown if row.requirement in spec.requirements]
    for line in header.described.conf:
        yield ConfLine(line.table, line.words, line.said, tuple(_shown_by(rows, line)))


def _shown_by(rows: Collection[ShownRow], line: ConfRow) -> Iterator[ShownBy]:
    return (ShownBy(row.name, row.requirement, row.kept, row.broken) for row in rows if row.where == line.table and row.of in line.of)
