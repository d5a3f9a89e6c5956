"""The attributes of drivers and datastores, and the default rows of oned.conf, cell by cell against those of the releases."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onesim.contracts import in_range, parse_version
from onesim.data import data_dir
from onesim.spec import load

Row = dict[str, Any]

TABLE: dict[str, list[Row]] = tomllib.loads((data_dir("spec") / "attributes.toml").read_text(encoding="utf-8"))
CONF: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "mad-conf.json").read_text(encoding="utf-8"))
ACTIONS = {action.key for action in load().actions}
PLACES = {"oned.conf", "TM_MAD_CONF", "DS_MAD_CONF", "datastore", "disk", "argument", "environment", "vmm_execrc"}
FAMILIES = {"tm": "TM_MAD_CONF", "ds": "DS_MAD_CONF"}
MADS = {"one_tm": "TM_MAD", "one_datastore": "DATASTORE_MAD"}


def _rows(section: str, release: str) -> dict[str, Row]:
    """Return the rows of one section in one release's oned.conf by name, without the name."""
    found = [dict(one["row"]) for one in CONF["rows"] if one["section"] == section and release in one["releases"]]
    names = [row.pop("NAME") for row in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def _valid(rows: list[Row], release: str) -> list[Row]:
    return [row for row in rows if in_range(release, row["since"], row["until"])]


@pytest.mark.parametrize("release", CONF["releases"])
@pytest.mark.parametrize("family", FAMILIES)
def test_driver_rows_are_those_of_the_release(family: str, release: str) -> None:
    """The table has the drivers of the release's oned.conf and no others, each with the same attributes and values."""
    table = [row for row in _valid(TABLE["driver"], release) if row["family"] == family]
    assert len({row["name"] for row in table}) == len(table)
    assert {row["name"]: row["attributes"] for row in table} == _rows(FAMILIES[family], release)


@pytest.mark.parametrize("release", CONF["releases"])
def test_arguments_of_the_mads_are_those_of_the_release(release: str) -> None:
    """The table has one row of ARGUMENTS for each MAD, as in the release's oned.conf."""
    table = {row["name"]: row["arguments"] for row in _valid(TABLE["mad"], release)}
    conf = [one["row"] for one in CONF["rows"] if one["section"] in MADS.values() and release in one["releases"]]
    assert table == {row["EXECUTABLE"]: row["ARGUMENTS"] for row in conf}


def test_every_contract_is_compared() -> None:
    """The data has the exact release of every contract: none is only assumed."""
    assert {contract.version for contract in load().contracts} <= set(CONF["releases"])


def test_a_change_is_a_row() -> None:
    """Rows of one driver follow each other without overlap, and two neighbours differ: nothing is copied from release to release."""
    for key in {(row["family"], row["name"]) for row in TABLE["driver"]}:
        rows = [row for row in TABLE["driver"] if (row["family"], row["name"]) == key]
        for before, after in pairwise(rows):
            assert before["until"] == after["since"] and before["attributes"] != after["attributes"], key


def test_attributes_of_every_driver_row_are_explained() -> None:
    """Every attribute that a release's oned.conf gives a driver has a row that says what it changes; names of mixed modes as _X."""
    for section in FAMILIES.values():
        known = {row["name"] for row in TABLE["attribute"] if row["where"] == section}
        used = {name for one in CONF["rows"] if one["section"] == section for name in one["row"]}
        assert {re.sub(r"^(LN_TARGET|CLONE_TARGET|DISK_TYPE)_\w+$", r"\1_X", name) for name in used} <= known


def test_values_of_every_driver_row_are_among_those_explained() -> None:
    """Where an attribute's values are listed, no release's oned.conf has another one (letters' case aside)."""
    listed = {(row["where"], row["name"]): set(row["values"]) for row in TABLE["attribute"] if row["values"]}
    for one in CONF["rows"]:
        for name, value in one["row"].items():
            plain = re.sub(r"^(LN_TARGET|CLONE_TARGET|DISK_TYPE)_\w+$", r"\1_X", name)
            values = listed.get((one["section"], plain))
            assert values is None or value.upper() in {text.upper() for text in values}, (one["section"], name, value)


def test_an_attribute_is_not_used_before_it_exists() -> None:
    """No row of a release's oned.conf has an attribute whose own row begins later."""
    since = {(row["where"], row["name"]): row for row in TABLE["attribute"]}
    for one in CONF["rows"]:
        for name in one["row"]:
            row = since.get((one["section"], name))
            if row:
                assert all(in_range(release, row["since"], row["until"]) for release in one["releases"]), (name, one["releases"])


@pytest.mark.parametrize("row", TABLE["attribute"], ids=lambda row: f"{row['where']}-{row['name']}")
def test_an_attribute_is_complete(row: Row) -> None:
    """Every row has the same columns, a known place, a meaning, something that it changes, and a line of oned's source."""
    assert set(row) == set(TABLE["attribute"][0])
    assert row["where"] in PLACES
    assert row["meaning"].endswith(".") and row["changes"] and row["read_by"]
    assert {key for key in row["changes"] if "/" in key} <= ACTIONS
    assert re.fullmatch(r"oned \d+\.\d+\.\d+: [\w./-]+:\d+", row["source"])
    for bound in (row["since"], row["until"]):
        for version in [bound] if isinstance(bound, str) else bound:
            assert not version or parse_version(version)


def test_no_attribute_stands_twice() -> None:
    """One row for one attribute in one place."""
    assert not [key for key, times in Counter((row["where"], row["name"]) for row in TABLE["attribute"]).items() if times > 1]


def test_the_hybrid_option_exists_where_the_contracts_say() -> None:
    """The option -i of one_datastore is there in the releases of the hybrid contracts, and in no release before or after."""
    row = next(one for one in TABLE["attribute"] if one["name"] == "one_datastore -i")
    there = {
        release
        for release in ("6.2.2", "6.4.3", "6.4.4", "6.4.7", "6.6.1", "6.6.2", "6.6.3", "6.8.0", "7.4.0")
        if in_range(release, row["since"], row["until"])
    }
    assert there == {"6.4.4", "6.4.7", "6.6.2", "6.6.3"}
    assert {contract.version for contract in load().contracts if contract.generation == "hybrid"} <= there


def test_live_snapshots_have_one_row_for_each_release() -> None:
    """LIVE_DISK_SNAPSHOTS has exactly one list for every release, and the pairs grow only."""
    before: set[str] = set()
    for release in CONF["releases"]:
        (row,) = _valid(TABLE["live"], release)
        assert before <= set(row["pairs"]) and len(set(row["pairs"])) == len(row["pairs"])
        before = set(row["pairs"])


@pytest.mark.parametrize("row", TABLE["shown"], ids=lambda row: row["name"])
def test_what_a_run_shows_of_an_attribute_can_be_shown(row: Row) -> None:
    """The attribute is one of its table, its values are among those listed, and the requirement has a check and speaks of it."""
    (attribute,) = [one for one in TABLE["attribute"] if (one["where"], one["name"]) == (row["where"], row["name"])]
    requirement = next(one for one in load().requirements if one.id == row["requirement"])
    assert {value for value in (row["kept"], row["broken"]) if value} <= set(attribute["values"])
    assert row["of"] in {"image", "system"} and requirement.check and row["name"] in requirement.sentence
    # where leaving it out would say the same as what was broken, that is not enough
    assert row["broken"] or attribute["default"] != row["kept"] or not row["kept"]
