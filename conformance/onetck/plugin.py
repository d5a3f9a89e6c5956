"""pytest as a front end: `pytest --onetck-driver DIR` has a test for every requirement in every case, with the verdicts of `onetck run` from the same code.

Without `--onetck-driver` or `--onetck-config` the plugin does nothing and imports nothing of the harness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from onetck.items import Run

_RUN: pytest.StashKey[Run] = pytest.StashKey()
_OPTIONS = (
    ("config", "FILE", "The vendor's world; ./onetck.toml if it is there."),
    ("datastore", "MAD", "Datastore driver to test, where the tree has several."),
    ("tm", "MAD", "Transfer-manager driver of the image datastore."),
    ("system-tm", "MAD", "Transfer-manager driver of the system datastore."),
    ("backup", "MAD", "Datastore driver of the backup datastore."),
    ("contract", "C", "OpenNebula release: an alias or an exact version."),
    ("backend", "namespaces|docker|ssh", "What makes the hosts."),
    ("hypervisor", "simulated|qemu", "What runs VMs: the simulated libvirt, or QEMU under libvirt."),
    ("profile", "P[,P]", "The frozen lists of requirements to certify; without it all that the driver claims."),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `onetck run` that name the driver and its world."""
    group = parser.getgroup("onetck", "certifying a storage driver of OpenNebula")
    group.addoption("--onetck-driver", action="append", default=[], metavar="DIR", help="A remotes/ tree, or a driver's directory; may be repeated.")
    for name, metavar, text in _OPTIONS:
        group.addoption(f"--onetck-{name}", default="", metavar=metavar, help=text)
    group.addoption(
        "--onetck-faults",
        default="off",
        metavar="off|basic|full",
        help="When the tests are through, play the cases that passed again with faults; what they show decides the exit status too.",
    )
    group.addoption("--onetck-seed", type=int, default=0, metavar="N", help="Picks how calls that overlap take turns, and where faults strike.")
    group.addoption("--onetck-yes", action="store_true", help="Work on the machines of [hosts] without asking (--onetck-backend ssh).")
    group.addoption("--onetck-no-lines", action="store_true", help="Do not tell which lines of the driver's scripts are run.")
    group.addoption("--onetck-out", default="onetck-results", metavar="DIR", help="Where history, results and reports go.")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Keep the tests of a case together, whatever was asked: a case is run once, by the process that has its tests. It is the scope of their ids."""
    if _asked(config) and getattr(config.option, "numprocesses", None):
        config.option.dist = "loadscope"


def pytest_configure(config: pytest.Config) -> None:
    """Find the driver and describe its world."""
    for marker in ("must", "should", "may"):
        config.addinivalue_line("markers", f"{marker}: onetck: the requirement is a {marker.upper()}")
    for marker in ("ds", "tm", "general"):
        config.addinivalue_line("markers", f"{marker}: onetck: the requirement is about actions of this family")
    if not _asked(config):
        return
    from onetck.items import begin

    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []  # the driver alone, not the tests that lie around it
    config.stash[_RUN] = begin(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the tests, before -k and -m choose."""
    run = config.stash.get(_RUN, None)
    if run is not None:
        added = list(run.items(session))
        session.ihook.pytest_collectreport(report=pytest.CollectReport("onetck", "passed", None, [*added]))
        items.extend(added)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Judge what all processes have run as one, write the reports, and end with the exit status of `onetck run`."""
    run = session.config.stash.get(_RUN, None)
    if run is not None and not session.config.option.collectonly and not hasattr(session.config, "workerinput"):
        session.exitstatus = run.finish(exitstatus)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say the verdict on the driver."""
    run = config.stash.get(_RUN, None)
    if run is not None and run.said:
        terminalreporter.section("onetck")
        for line in run.said:
            terminalreporter.line(line)


def _asked(config: pytest.Config) -> bool:
    return bool(config.option.onetck_driver or config.option.onetck_config)
