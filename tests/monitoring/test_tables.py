"""The table of monitoring agrees with the others, with the grammars and with the world."""

from __future__ import annotations

import re

from onereport.spec_tables import documents
from onesim.data import data_dir
from onesim.spec import for_contract, load

TABLES = load().monitor


def test_how_often_sizes_are_asked_for_is_the_default_of_oned() -> None:
    """DS_MONITOR_VM_DISK."""
    (row,) = [one for one in documents(load()).attributes if one.name == "DS_MONITOR_VM_DISK"]
    assert row.default == str(TABLES.daemon.vm_disks_every)


def test_the_messages_are_those_of_the_grammar() -> None:
    """Which kinds of message there are, the grammar of datagrams says too."""
    grammar = (data_dir("schemas") / "grammars" / "datagram.lark").read_text()
    (line,) = re.findall(r"^KIND: (.*)$", grammar, re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', line)) == TABLES.kinds()
    assert {row.message for row in TABLES.probe} <= TABLES.kinds()


def test_the_probe_runs_what_the_table_of_actions_describes() -> None:
    """One script of the driver, with the arguments of its action."""
    (row,) = [one for one in TABLES.probe if one.script]
    action = for_contract("7.4").actions["tm/monitor_ds"]
    assert row.script.endswith(f"/{action.name}") and action.on == "node" and len(for_contract("7.4").argv(action)) == len(row.argv)


def test_the_configuration_names_keys_only_where_there_are_some() -> None:
    """Every other word stays."""
    plain, secret = (TABLES.conf_text(encrypted=encrypted) for encrypted in (False, True))
    assert 'PUBKEY  = ""' in plain and f'PUBKEY  = "{TABLES.daemon.public_key}"' in secret and f'PRIKEY  = "{TABLES.daemon.private_key}"' in secret
    assert plain.count("\n") == secret.count("\n") and "{" not in plain
