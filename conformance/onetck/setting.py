"""What a run is about: the contract, the driver and the world that it needs, from the words of the command line and the vendor's description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onesim.coverage import Sources
from onesim.errors import ConfigError
from onesim.layout import Subjected, shared_of
from onesim.redaction import Redaction
from onesim.spec import ContractSpec, for_contract
from onetck import backends, conclude, statement, waivers
from onetck import config as configuration
from onetck.driver import Driver, find_driver
from onetck.machines import machines
from onetck.mads import mads_of
from onetck.statement import Statement
from onetck.taped import MISSES, furniture
from onetck.waivers import Waiver, read_waivers


@dataclass(frozen=True)
class Given:
    """The words of the command line; what is empty comes from the description. `lines` = it is told which lines of the scripts are run.

    `yes` = the machines of a lab may be worked on.
    """

    paths: Sequence[Path] = ()
    datastore: str = ""
    tm: str = ""
    system_tm: str = ""
    contract: str = ""
    config: Path | None = None
    timeout_s: float | None = None
    backup: str = ""
    lines: bool = True
    hypervisor: str = ""
    backend: str = ""
    yes: bool = False


@dataclass(frozen=True)
class Setting:
    """A driver under a contract, in its world. `words` are those of the command line that repeat it."""

    spec: ContractSpec
    driver: Driver
    subject: Subjected
    words: tuple[str, ...]
    config: configuration.Config
    base: Path
    statement: Statement | None = None
    waivers: tuple[Waiver, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether the hosts share the system datastores."""
        return shared_of(self.subject, None)

    @property
    def claimed(self) -> str:
        """The names of the profiles that are claimed, parted by commas: by the statement, else by the actions that the driver has and by the description."""
        if self.statement:
            return ",".join(self.statement.profiles)
        by_actions = conclude.claimable(self.spec, self.driver, self.subject.image_template, shared=self.shared)
        return ",".join(dict.fromkeys([*by_actions, *self.config.driver.profiles]))

    @property
    def redaction(self) -> Redaction:
        """What no record of a run of it may hold."""
        return Redaction(self.spec.spec.secrets, self.subject.secrets)

    @property
    def repeat(self) -> tuple[str, ...]:
        """The words of the command line that repeat it, without secrets."""
        return self.redaction.argv(self.words)

    def through(self, programs: Sequence[str]) -> Setting:
        """Return the setting with driver programs that start the scripts: the words of `--mad`, else what the description names."""
        mads = mads_of(programs, self.config, self.base, self.spec, self.driver)
        words = tuple(word for one in programs for word in ("--mad", one))
        return replace(self, subject=replace(self.subject, mads=mads), words=(*self.words, *words))


def settle(given: Given) -> Setting:
    """Find the driver and describe its world. Raises ConfigError naming what is missing and the remedy."""
    config, base = configuration.read_config(given.config, given.paths)
    trees = [path for path in given.paths if not configuration.describes(path)] or [base / path for path in config.driver.paths]
    if not trees:
        raise ConfigError("no driver: give a directory, or name it under [driver] paths in onetck.toml")
    spec = for_contract(given.contract or config.driver.contract)
    named = config.driver
    mads = (given.datastore or named.datastore, given.tm or named.tm, given.system_tm or named.system_tm, given.backup or named.backup)
    driver = find_driver(trees, *mads)
    configuration.require_attributes(config, driver.datastore_mad, driver.backup_mad)
    backend = backends.known(given.backend or config.world.backend)
    taped_files, taped_services = furniture(config.array, base)
    subject = Subjected(
        driver.archive(spec.version),
        driver.datastore_mad,
        driver.tm_mad,
        driver.system_tm_mad,
        driver.helpers(),
        configuration.tm_conf(config),
        config.image_datastore,
        config.system_datastore,
        configuration.environment(config, base),
        (*configuration.files(config, base), *taped_files),
        config.hooks.setup,
        config.hooks.teardown,
        configuration.limits(config, given.timeout_s),
        driver.root,
        configuration.scripts(config),
        links=configuration.links(config),
        services=(*taped_services, *configuration.services(config)),
        misses=MISSES if config.array is not None else "",
        probes=configuration.probes(config),
        wait_scale=configuration.wait_scale(config),
        simulated=("virsh",) if config.libvirt.virsh == "simulated" else (),
        hypervisor=configuration.hypervisor(config, given.hypervisor, backend),
        backup_mad=driver.backup_mad,
        backup_template=config.backup_datastore,
        sources=Sources(driver.texts(), driver.helpers().decode(errors="replace")) if given.lines else None,
        secrets=configuration.secrets(config, base, spec.spec),
        backend=backend,
        image=config.world.image or backends.IMAGE,
        lab=machines(config, base) if backend == "ssh" else (),
        agreed=given.yes,
    )
    options = (
        ("--datastore", given.datastore),
        ("--tm", given.tm),
        ("--system-tm", given.system_tm),
        ("--backup", given.backup),
        ("--contract", spec.contract.name),
        ("--config", str(given.config or "")),
        ("--hypervisor", given.hypervisor),
        ("--backend", given.backend),
    )
    words = tuple(word for name, value in options if value for word in (name, value))
    words += () if given.lines else ("--no-lines",)
    stated = base / statement.NAME
    claims = statement.read_statement(stated, spec.spec) if stated.is_file() else None
    waived = read_waivers(base / waivers.NAME, spec.spec)
    return Setting(spec, driver, subject, (*map(str, given.paths), *words), config, base, claims, waived)
