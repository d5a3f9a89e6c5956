"""All rules on one driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onesim.errors import ConfigError
from onetck.lint.arguments import check_arguments
from onetck.lint.commands import check_commands, check_paths, check_separators
from onetck.lint.findings import Finding, Report, Rules, report
from onetck.lint.fragment import Fragment, check_fragment
from onetck.lint.shellchecked import check_shell
from onetck.lint.sources import Sources
from onetck.lint.syntax import check_syntax
from onetck.lint.tree import check_links, check_missing, check_scripts
from onetck.setting import Setting


def lint(setting: Setting, oned_conf: Path | None = None, *, shellcheck: bool = False) -> Report:
    """Read a driver and return what is found. Raises ConfigError for a file that is not there, and where nothing of the driver is a script."""
    rules = Rules(setting.spec)
    sources = Sources(setting.driver, setting.spec, shared=setting.shared)
    if not sources.scripts:
        raise ConfigError(f"{setting.driver.root}: holds no script; give a remotes tree, or datastore/<mad> and tm/<mad> directories")
    fragment = Fragment(oned_conf, setting.spec.version) if oned_conf is not None else None

    def findings() -> Iterator[Finding]:
        yield from check_links(sources, rules)
        yield from check_scripts(sources, rules)
        yield from check_missing(sources, rules, setting.claimed)
        yield from check_syntax(sources, rules)
        yield from check_commands(sources, rules)
        yield from check_arguments(sources, rules)
        yield from check_paths(sources, rules)
        yield from check_separators(sources, rules)
        if shellcheck:
            yield from check_shell(sources, rules)
        if fragment is not None:
            yield from check_fragment(fragment, sources, rules, setting.config)

    return report(str(setting.driver.root), setting.spec.contract.name, len(sources.scripts), findings())
