"""`onetck.toml`: a vendor's world. Its JSON Schema comes from these classes (`onetck config --schema`); unknown keys are refused."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w

from onesim.cloud import MadConf, Mode
from onesim.errors import ConfigError
from onesim.layout import HOSTS, ExtraFile
from onesim.model import FRONTEND
from onesim.redaction import MARK, Redaction
from onesim.seats import ProbeRow, Probes
from onesim.spec import Spec
from onesim.world.clients import GATE_PORT, RPC_PORT
from onesim.world.interface import Limits, Service
from onesim.world.web import PORT

NAME = "onetck.toml"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class DriverTable(_Table, frozen=True):
    """`[driver]`: paths are relative to the file; they are used where the command line names none.

    `profiles` are those that the driver is certified for besides those that its actions claim.
    """

    paths: tuple[str, ...] = ()
    datastore: str = ""
    tm: str = ""
    system_tm: str = ""
    backup: str = ""
    contract: str = ""
    profiles: tuple[str, ...] = ()


class ModeTable(_Table, frozen=True):
    """`[tm_mad_conf.<tm_mad>.modes.<system tm_mad>]`: LN_TARGET_x, CLONE_TARGET_x and DISK_TYPE_x for a name x of TM_MAD_SYSTEM."""

    LN_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    CLONE_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    DISK_TYPE: str = "FILE"


class TmConfTable(_Table, frozen=True):
    """`[tm_mad_conf.<tm_mad>]`: the attributes of TM_MAD_CONF in oned.conf."""

    LN_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "NONE"
    CLONE_TARGET: Literal["NONE", "SELF", "SYSTEM"] = "SYSTEM"
    SHARED: Literal["YES", "NO"] = "YES"
    DS_MIGRATE: Literal["YES", "NO"] = "YES"
    DISK_TYPE: str = "FILE"
    DRIVER: str = ""
    ALLOW_ORPHANS: str = "FORMAT"
    modes: dict[str, ModeTable] = {}


class DsConfTable(_Table, frozen=True):
    """`[ds_mad_conf.<ds_mad>]`: the attributes of DS_MAD_CONF in oned.conf."""

    REQUIRED_ATTRS: tuple[str, ...] = ()
    PERSISTENT_ONLY: Literal["YES", "NO"] = "NO"


class FileTable(_Table, frozen=True):
    """`[[file]]`: a file or binary of the machine that stands in the world at `to`. `where` is all, frontend, hosts or a host's name."""

    source: str
    to: str
    mode: str = "0644"
    where: str = "all"


class SecretTable(_Table, frozen=True):
    """`[secret.<NAME>]`: a variable of the driver's environment whose value stands elsewhere: in an environment variable or a file."""

    env: str = ""
    file: str = ""


class MadTable(_Table, frozen=True):
    """`[mad.tm]` and `[mad.datastore]`: a driver program that stands between oned and the scripts, in place of the harness's own start of each script.

    `program` is a file relative to this one, a program that every host has (an absolute path below /usr), or `own` for that of `onetck mad`. `arguments` are
    those of oned.conf; if there are none, as many threads and all drivers of the tree, as oned.conf has them.
    """

    program: str
    arguments: tuple[str, ...] = ()


class LimitsTable(_Table, frozen=True):
    """`[limits]`: the bounds of one call; `scripts` is how many scripts each of oned's helpers runs at once (`-t` in oned.conf).

    `wait_scale` multiplies the seconds that oned itself waits: 90 for stat, 180 for restore.
    """

    time_s: float = 60
    output_kb: int = 1024
    processes: int = 256
    memory_mb: int = 1024
    scripts: int = 15
    wait_scale: float = 1.0


class LibvirtTable(_Table, frozen=True):
    """`[libvirt]`: whether `virsh` in the world is answered by the simulated libvirt, or is the machine's own, for which the set-up starts a daemon.

    With `hypervisor = "qemu"` the hosts run this machine's libvirtd, and VMs are QEMUs (`--hypervisor`).
    """

    virsh: Literal["simulated", "real"] = "simulated"
    hypervisor: Literal["simulated", "qemu"] = "simulated"


class WorldTable(_Table, frozen=True):
    """What the hosts are: namespaces of this machine, containers of Docker from an image that `onetck hosts build` has made, or the machines of `[hosts]`."""

    backend: Literal["namespaces", "docker", "ssh"] = "namespaces"
    image: str = ""


class MachineTable(_Table, frozen=True):
    """`[hosts.<name>]`: a machine of a lab, for `backend = "ssh"`. One is the front-end; the others are host01, host02 and so on in the order of the file.

    `address`, `port`, `user`, `key` and `known_hosts` are for the ssh client of this machine; `host_keys` is its StrictHostKeyChecking; the address `local` is
    this machine. Another user than root needs sudo without a password. The other machines reach it at `inside` (else `address`), at `ssh_port` while a run
    lasts. Below `datastores` it has storage of its own for worlds, below `shared` that of all machines. Both are directories for this alone.
    """

    address: str
    datastores: str
    shared: str = ""
    frontend: bool = False
    port: int = 0
    user: str = "root"
    key: str = ""
    known_hosts: str = ""
    host_keys: Literal["yes", "accept-new", "no"] = "yes"
    inside: str = ""
    python: str = "python3"
    ssh_port: int = 7422


class HooksTable(_Table, frozen=True):
    """`[hooks]`: shell commands run as oneadmin on the front-end of every world, before the first and after the last operation."""

    setup: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()


class ServiceTable(_Table, frozen=True):
    """`[[service]]`: a daemon that the driver needs and that runs in every world, such as a storage cluster: started before `[hooks] setup`, as oneadmin.

    `command` is run by a shell in /run/one/NAME on `host`; it may stay, or end and leave processes. `ready` is a shell command that ends with 0 once the
    service is up; it is tried for `ready_s` seconds.
    """

    name: str
    command: str
    ready: str = ""
    ready_s: float = 60
    host: str = "frontend"


class LinkTable(_Table, frozen=True):
    """`[[link]]`: a TCP port of every host that leads to the port `to` of the front-end, where a service listens, such as a storage array's API.

    Faults of the network are made on the way: `fault.next` with the command `tcp:PORT`.
    """

    port: int
    to: int


class ArrayTable(_Table, frozen=True):
    """`[array]`: a storage array that is not here: every world has what it answers, from a tape that `onetck array` has recorded.

    `tape` is relative to this file. `command` is the path of the vendor's command line in the world, on all hosts; with `stdin` it reads its input. `port` is
    where the HTTP API listens on the world's loopback. `names` and `reads` are regular expressions, as the options of `onetck array replay`.
    """

    tape: str
    command: str = ""
    stdin: bool = False
    port: Annotated[int, msgspec.Meta(ge=1024, le=65535)] = 8780
    names: tuple[str, ...] = ()
    reads: str = ""


class PlaceTable(_Table, frozen=True):
    """`[probe.image]` and `[probe.disk]`: how the harness reaches images, and disks of VMs, that it would not find by their DISK_TYPE.

    `at` is a path on the host or an address that qemu-img opens (nbd://..., iscsi://...). Or shell commands: `read` prints all bytes, `write` takes $LENGTH
    bytes for $OFFSET on standard input, `exists` ends with 0 where it is there and with 1 where it is not. $SOURCE, $DISK_PATH (the file in the VM's
    directory), $VM_ID, $DISK_ID and every attribute of the disk or datastore stand for themselves. `host` is where; if empty, where the disk is used.
    """

    at: str = ""
    read: str = ""
    write: str = ""
    exists: str = ""
    host: str = ""


class ProbeTable(_Table, frozen=True):
    """`[probe]`: how the harness looks into storage that is no directory; shell commands run as oneadmin on `host`.

    `inventory` prints, one a line, the name of everything that lies in the store, volumes and snapshots alike: what calls add and take away is judged by it.
    `capacity` prints the total and the free MiB of the store.
    """

    image: PlaceTable = PlaceTable()
    disk: PlaceTable = PlaceTable()
    inventory: str = ""
    capacity: str = ""
    host: str = "frontend"


class Config(_Table, frozen=True):
    """The whole file."""

    driver: DriverTable = DriverTable()
    image_datastore: dict[str, str] = {}
    system_datastore: dict[str, str] = {}
    backup_datastore: dict[str, str] = {}
    tm_mad_conf: dict[str, TmConfTable] = {}
    ds_mad_conf: dict[str, DsConfTable] = {}
    etc: dict[str, str] = {}
    file: tuple[FileTable, ...] = ()
    service: tuple[ServiceTable, ...] = ()
    array: ArrayTable | None = None
    hooks: HooksTable = HooksTable()
    probe: ProbeTable = ProbeTable()
    environment: dict[str, str] = {}
    secret: dict[str, SecretTable] = {}
    limits: LimitsTable = LimitsTable()
    libvirt: LibvirtTable = LibvirtTable()
    world: WorldTable = WorldTable()
    link: tuple[LinkTable, ...] = ()
    hosts: dict[str, MachineTable] = {}
    mad: dict[Literal["tm", "datastore"], MadTable] = {}


def describes(path: Path) -> bool:
    """Tell whether a directory is no driver itself but describes one."""
    return (path / NAME).is_file() and not any((path / family).is_dir() for family in ("datastore", "tm"))


def _nearest(drivers: Sequence[Path]) -> Path | None:
    """Return the description that applies where none is named: the one given in place of a driver, that of this directory, that above the driver."""
    given = [path / NAME for path in drivers if describes(path)]
    above = [path.resolve().parent / NAME for path in drivers]
    return next((path for path in (*given, Path(NAME), *above) if path.is_file()), None)


def read_config(path: Path | None, drivers: Sequence[Path] = ()) -> tuple[Config, Path]:
    """Read the file given; else `onetck.toml` in a directory given in place of a driver, here, or beside the driver's tree.

    Returns it and the directory that its paths are relative to. Raises ConfigError naming file, place and remedy.
    """
    found = path or _nearest(drivers)
    if found is None:
        return Config(), Path()
    try:
        return msgspec.toml.decode(found.read_bytes(), type=Config), found.parent
    except OSError as error:
        raise ConfigError(f"{found}: {error.strerror}; give a configuration with --config") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{found}: {error}; see `onetck config --schema`") from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `onetck.toml`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "onetck.toml", **msgspec.json.schema(Config)}


def tm_conf(config: Config) -> dict[str, MadConf]:
    """Return the TM_MAD_CONF attributes as the simulator takes them."""
    return {
        name: MadConf(
            row.SHARED == "YES",
            row.LN_TARGET,
            row.CLONE_TARGET,
            row.DISK_TYPE,
            row.DRIVER,
            row.ALLOW_ORPHANS,
            row.DS_MIGRATE == "YES",
            {system: Mode(mode.LN_TARGET, mode.CLONE_TARGET, mode.DISK_TYPE) for system, mode in row.modes.items()},
        )
        for name, row in config.tm_mad_conf.items()
    }


def limits(config: Config, time_s: float | None) -> Limits:
    """Return the bounds of a call; `time_s` of the command line goes before the file's."""
    row = config.limits
    seconds = row.time_s if time_s is None else time_s
    if seconds <= 0:
        raise ConfigError(f"a time limit of {seconds:g} s is no limit; give a number above 0")
    return Limits(time_s=seconds, output_bytes=row.output_kb * 1024, processes=row.processes, memory_mb=row.memory_mb)


def scripts(config: Config) -> int:
    """Return how many scripts run at once."""
    if config.limits.scripts < 1:
        raise ConfigError(f"[limits] scripts = {config.limits.scripts} lets no script run; give a number of at least 1")
    return config.limits.scripts


def wait_scale(config: Config) -> float:
    """Return what oned's own waits are multiplied by."""
    if config.limits.wait_scale <= 0:
        raise ConfigError(f"[limits] wait_scale = {config.limits.wait_scale:g} leaves no time to wait; give a number above 0")
    return config.limits.wait_scale


def hypervisor(config: Config, given: str, backend: str) -> str:
    """Return what runs VMs; the word of the command line goes before the file's.

    Raises ConfigError for a word that is none, beside a libvirtd of the vendor's, or where hosts are containers.
    """
    word = given or config.libvirt.hypervisor
    if word not in ("simulated", "qemu"):
        raise ConfigError(f"--hypervisor {word}: give simulated or qemu")
    if word == "qemu" and config.libvirt.virsh == "real":
        raise ConfigError('[libvirt] virsh = "real" says that the set-up starts libvirtd, and the hypervisor qemu starts it too; leave one out')
    if word == "qemu" and backend != "namespaces":
        raise ConfigError(f"--hypervisor qemu runs on hosts that are namespaces, and --backend is {backend}; leave one out")
    return word


#: Ports that worlds have themselves: those of the web server, of oned's XML-RPC and of the gates.
_TAKEN = frozenset({PORT, RPC_PORT, GATE_PORT})


def links(config: Config) -> tuple[tuple[int, int], ...]:
    """Return the links of the world. Raises ConfigError for a port that is none, is a world's own, or stands twice."""
    ports = [one.port for one in config.link]
    for one in config.link:
        if not (0 < one.port < 65536 and 0 < one.to < 65536) or one.to in ports:
            raise ConfigError(f"[[link]] port = {one.port}, to = {one.to}: give two ports from 1 to 65535; no link leads to another one")
        if one.port in _TAKEN or ports.count(one.port) > 1:
            raise ConfigError(f"[[link]] port = {one.port} is taken; choose another one, but none of {', '.join(map(str, sorted(_TAKEN)))}")
    return tuple((one.port, one.to) for one in config.link)


def files(config: Config, base: Path) -> tuple[ExtraFile, ...]:
    """Return the vendor's files with their bytes, and those of `remotes/etc`."""
    rows = []
    for row in config.file:
        path = base / row.source
        if not row.to.startswith("/"):
            raise ConfigError(f"file {row.source}: `to` is an absolute path in the world, not {row.to!r}")
        if not re.fullmatch(r"0?[0-7]{3}", row.mode):
            raise ConfigError(f"file {row.source}: mode {row.mode!r} is not octal such as 0755")
        try:
            rows.append(ExtraFile(row.to, path.read_bytes(), int(row.mode, 8), row.where))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; correct `source` of [[file]]") from None
    rows += [ExtraFile(f"/var/lib/one/remotes/etc/{name}", text.encode(), 0o644, "frontend") for name, text in config.etc.items()]
    return tuple(rows)


def services(config: Config) -> tuple[Service, ...]:
    """Return the services of the vendor's world. Raises ConfigError for a name that is none, or given twice."""
    names = [row.name for row in config.service]
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or names.count(name) > 1:
            raise ConfigError(f"[[service]] name {name!r}: give each a name of its own, of letters, digits, - and _")
    return tuple(Service(row.name, row.command, row.ready, row.ready_s, row.host) for row in config.service)


def probes(config: Config) -> Probes:
    """Return how the harness looks into the vendor's storage. Raises ConfigError for a host that is none."""
    row = config.probe
    for host in (row.host, row.image.host, row.disk.host):
        if host and host not in (FRONTEND, *HOSTS):
            raise ConfigError(f"[probe] host {host!r}: a world has {', '.join((FRONTEND, *HOSTS))}")
    image, disk = (ProbeRow(one.at, one.read, one.write, one.exists, one.host) for one in (row.image, row.disk))
    return Probes(image, disk, row.inventory, row.capacity, row.host)


def environment(config: Config, base: Path) -> dict[str, str]:
    """Return the driver's environment with the secrets filled in. Raises ConfigError for a secret that is not to be had."""
    filled = dict(config.environment)
    for name, row in config.secret.items():
        if bool(row.env) == bool(row.file):
            raise ConfigError(f"secret {name}: name either env or file")
        if row.env:
            if row.env not in os.environ:
                raise ConfigError(f"secret {name}: the environment variable {row.env} is not set")
            filled[name] = os.environ[row.env]
        else:
            try:
                filled[name] = (base / row.file).read_text().rstrip("\n")
            except OSError as error:
                raise ConfigError(f"secret {name}: {base / row.file}: {error.strerror}") from None
    return filled


def secrets(config: Config, base: Path, spec: Spec) -> tuple[tuple[str, str], ...]:
    """Return the names and values that no record of a run may hold: what is secret by its name, and every [secret]."""
    redaction = Redaction(spec.secrets)
    values = environment(config, base)
    found = [(name, values[name]) for name in config.secret]
    for table in (config.image_datastore, config.system_datastore, config.backup_datastore, config.environment):
        found += [(name, value) for name, value in table.items() if name in spec.encrypted or redaction.secret(name)]
    for text in config.etc.values():
        found += redaction.values(text)
    return tuple(dict.fromkeys(found))


def without_secrets(config: Config, redaction: Redaction) -> bytes:
    """Return the text of a description in which no secret stands."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: f"{MARK}{name}" if isinstance(one, str) and redaction.secret(name) else clean(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [clean(one) for one in value]
        return redaction.assigned(value) if isinstance(value, str) else value

    tables = msgspec.to_builtins(config)
    by_reference = {"secret": tables.pop("secret")} if "secret" in tables else {}
    return tomli_w.dumps({**clean(tables), **by_reference}).encode()


def require_attributes(config: Config, datastore_mad: str, backup_mad: str) -> None:
    """Raise ConfigError if a datastore's template lacks an attribute that DS_MAD_CONF requires, as oned refuses it."""
    for table, mad, template in (("image", datastore_mad, config.image_datastore), ("backup", backup_mad, config.backup_datastore)):
        row = config.ds_mad_conf.get(mad)
        missing = [name for name in row.REQUIRED_ATTRS if name not in template] if row else []
        if missing:
            raise ConfigError(f"[{table}_datastore] lacks {', '.join(missing)}, which REQUIRED_ATTRS of {mad} demands")
