"""What is said of a driver before it runs, for the header of the history: reports need nothing but the files of a run."""

from __future__ import annotations

from onesim.records import Described
from onetck import oned_conf
from onetck.setting import Setting
from onetck.statement import disagreements


def described(setting: Setting) -> Described:
    """Return what the statement, the description and the scripts of a driver say."""
    stated, driver, spec = setting.statement, setting.driver, setting.spec
    needed = dict.fromkeys(action for profile in spec.spec.profiles.values() for action in profile.needs)
    return Described(
        stated is not None,
        tuple(disagreements(stated, spec, driver, setting.subject.image_template, shared=setting.shared)) if stated else (),
        tuple(action for action in needed if action in spec.actions and not driver.has(action)),
        tuple(oned_conf.rows(setting.config, driver)),
    )
