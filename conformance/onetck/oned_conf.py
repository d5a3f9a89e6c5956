"""The lines of `oned.conf` that a driver needs, from its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onereport.capability import conf_text
from onesim.records import ConfRow
from onetck.config import Config, DsConfTable, TmConfTable
from onetck.driver import Driver


def rows(config: Config, driver: Driver) -> Iterator[ConfRow]:
    """Yield what an operator adds to oned.conf: what is to be done to the rows of the two MADs, in words, and the rows of the driver's own."""
    transfer = list(dict.fromkeys([driver.tm_mad, driver.system_tm_mad]))
    yield ConfRow(said=f"TM_MAD, arguments: add {', '.join(transfer)} to the list after -d")
    stores = [name for name in (driver.datastore_mad, driver.backup_mad) if name]
    yield ConfRow(said=f"DATASTORE_MAD, arguments: add {', '.join(stores)} to the list after -d, and {driver.system_tm_mad} to that after -s")
    for name in transfer:
        uses = {"image": driver.tm_mad, "system": driver.system_tm_mad}
        words = _transfer(name, config.tm_mad_conf.get(name, TmConfTable()))
        yield ConfRow("TM_MAD_CONF", words, of=tuple(use for use, mad in uses.items() if mad == name))
    for name in stores:
        row = config.ds_mad_conf.get(name, DsConfTable())
        words = {"NAME": name, "REQUIRED_ATTRS": ",".join(row.REQUIRED_ATTRS), "PERSISTENT_ONLY": row.PERSISTENT_ONLY}
        yield ConfRow("DS_MAD_CONF", words, of=("image",) if name == driver.datastore_mad else ("backup",))


def lines(config: Config, driver: Driver) -> Iterator[str]:
    """Yield the lines that an operator adds to oned.conf, comments among them."""
    return (conf_text(row.table, row.words, row.said) for row in rows(config, driver))


def _transfer(name: str, row: TmConfTable) -> dict[str, str]:
    words = {"NAME": name, "LN_TARGET": row.LN_TARGET, "CLONE_TARGET": row.CLONE_TARGET, "SHARED": row.SHARED, "DS_MIGRATE": row.DS_MIGRATE}
    words |= {"DRIVER": row.DRIVER} if row.DRIVER else {}
    words |= {"ALLOW_ORPHANS": row.ALLOW_ORPHANS}
    if row.modes:
        words["TM_MAD_SYSTEM"] = ",".join(row.modes)
    for mode, targets in row.modes.items():
        end = mode.upper()
        words |= {f"LN_TARGET_{end}": targets.LN_TARGET, f"CLONE_TARGET_{end}": targets.CLONE_TARGET, f"DISK_TYPE_{end}": targets.DISK_TYPE}
    return words


def differences(values: Mapping[str, str], described: TmConfTable) -> Iterator[tuple[str, str, str]]:
    """Yield the attributes of a row of oned.conf that the description has otherwise: name, described, there."""
    for name in described.__struct_fields__:
        ours, theirs = getattr(described, name), values.get(name)
        if isinstance(ours, str) and theirs is not None and ours.upper() != theirs.upper():
            yield name, ours or "empty", theirs
