"""What `[hosts]` may say: what is wrong there gets one message that names the machine, and exit status 4, before anything is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from onesim.data import data_dir
from onesim.errors import ConfigError
from onesim.world.lab import LabHost
from onetck.cli import application
from onetck.config import read_config
from onetck.machines import machines

_FRONT = '[hosts.fe]\naddress = "a1"\ndatastores = "/srv/own"\nshared = "/srv/shared"\nfrontend = true\n'
_FIRST = '[hosts.hv1]\naddress = "a2"\ndatastores = "/srv/own"\nshared = "/srv/shared"\n'
_SECOND = '[hosts.hv2]\naddress = "a3"\ndatastores = "/srv/own/"\nshared = "/srv/shared"\nport = 2222\nuser = "lab"\n'
_WRONG = {
    "two front-ends": (_FRONT + _FIRST + "frontend = true\n", "[hosts] has 2 front-ends"),
    "no front-end": (_FIRST, "[hosts] has 0 front-ends"),
    "an option as address": (_FRONT + _FIRST.replace("a2", "-oProxyCommand=x"), "[hosts.hv1] address = '-oProxyCommand=x' is none"),
    "this machine without a way to it": (_FRONT.replace("a1", "local"), "[hosts.fe] is this machine; give `inside`"),
    "a relative path": (_FRONT.replace("/srv/own", "own"), "[hosts.fe] datastores = 'own': give the absolute path"),
    "a whole file system": (_FRONT.replace("/srv/own", "/srv"), "[hosts.fe] datastores = '/srv': give the absolute path"),
    "a way out of the path": (_FRONT.replace("/srv/own", "/srv/../etc"), "[hosts.fe] datastores = '/srv/../etc': give the absolute path"),
    "one directory for both": (_FRONT.replace("/srv/own", "/srv/shared/"), "[hosts.fe] has one directory for `datastores`"),
    "a port that is none": (_FRONT + "ssh_port = 0\n", "[hosts.fe] ssh_port = 0 is no port"),
    "a key that is not there": (_FRONT + 'key = "nowhere"\n', "[hosts.fe] key = 'nowhere': there is no such file"),
    "a machine twice": (_FRONT + _FIRST.replace("a2", "a1"), "[hosts.hv1] is the same machine as [hosts.fe]"),
}


def _read(tmp_path: Path, text: str) -> tuple[LabHost, ...]:
    path = tmp_path / "onetck.toml"
    path.write_text(text)
    return machines(*read_config(path))


def test_machines_are_hosts_in_the_order_of_the_file(tmp_path: Path) -> None:
    """The front-end is the first wherever it stands; another user than root works by sudo."""
    first, front, second = _read(tmp_path, _FIRST + _FRONT + _SECOND)[1], *_read(tmp_path, _FIRST + _FRONT + _SECOND)[::2]
    assert [(one.name, one.role) for one in (front, first, second)] == [("fe", "frontend"), ("hv1", "host01"), ("hv2", "host02")]
    assert second.datastores == "/srv/own" and second.inside == "a3"
    command = second.command()
    assert command[0] == "ssh" and {"Port=2222", "User=lab", "BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(command)
    assert command[-1].startswith("sudo -n python3 -I -S -c ") and front.command()[-1].startswith("python3 -I -S -c ")


@pytest.mark.parametrize("name", _WRONG)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    """One message, with the machine and the remedy."""
    text, message = _WRONG[name]
    with pytest.raises(ConfigError) as refused:
        _read(tmp_path, text)
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--backend ssh takes its machines from [hosts] in onetck.toml"),
        (_FRONT + _FIRST, "[hosts] names 2 machines, and the driver needs 3: frontend, host01, host02"),
        (_FRONT + _FIRST + _SECOND.replace('shared = "/srv/shared"\n', ""), "[hosts.hv2] has no `shared`, and the driver's datastores are shared"),
        (_FRONT + _FIRST + _SECOND, "give --yes"),
        (_FRONT + _FIRST + "disk = 1\n", "unknown field `disk`"),
    ],
    ids=["no machines", "too few", "no shared storage", "no consent", "an unknown key"],
)
def test_a_run_that_cannot_be_touches_nothing(text: str, message: str, tmp_path: Path) -> None:
    """Exit status 4, and no machine is spoken to: these have no address that leads anywhere."""
    reference = data_dir("reference_driver")
    path = tmp_path / "onetck.toml"
    path.write_text((reference / "onetck.toml").read_text().replace('paths = ["remotes"]', f'paths = ["{reference}/remotes"]') + "\n" + text)
    done = CliRunner().invoke(application(), ["run", "--config", str(path), "--backend", "ssh", "--out", str(tmp_path / "out")])
    assert done.exit_code == 4, done.output
    assert message in done.stderr.splitlines()[-1]


def test_a_machine_that_is_not_reached_is_no_verdict(tmp_path: Path) -> None:
    """The doctor and the cleaning name it, with 3."""
    path = tmp_path / "onetck.toml"
    path.write_text(_FRONT.replace("a1", "127.0.0.1") + "port = 9\n")
    done = CliRunner().invoke(application(), ["doctor", "--hosts", "--config", str(path)])
    assert done.exit_code == 3 and "FAIL fe reached: " in done.stdout and "correct `address` and `port`" in done.stdout
    done = CliRunner().invoke(application(), ["hosts", "clean", "--config", str(path)])
    assert done.exit_code == 3 and "not removed: fe (127.0.0.1): " in done.stderr
