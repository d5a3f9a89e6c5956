"""Records that are written and parsed again, and texts broken in one named way."""

from __future__ import annotations

import pytest
from grammar_strategies import FORMS, Break, Form
from hypothesis import given, settings
from hypothesis import strategies as st

from onesim.grammars import parse, problem_at

_IDS = [f"{form.name}-{form.version}" for form in FORMS]
_BREAKS = [pytest.param(form, do, id=f"{form.name}-{form.version}-{name}") for form in FORMS for name, do in form.breaks.items()]


@pytest.mark.parametrize("form", FORMS, ids=_IDS)
def test_what_is_written_is_read(form: Form) -> None:
    """A record, written in any of its spellings, is parsed to the same record."""

    @settings(max_examples=25, deadline=None, database=None)
    @given(form.texts)
    def check(drawn: tuple[object, str]) -> None:
        record, text = drawn
        assert parse(form.name, text, form.version) == record

    check()


@pytest.mark.parametrize(("form", "do"), _BREAKS)
def test_a_break_is_refused_at_its_place(form: Form, do: Break) -> None:
    """A text broken in one named way is refused with the line and column of the break."""

    @settings(max_examples=12, deadline=None, database=None)
    @given(form.texts)
    def check(drawn: tuple[object, str]) -> None:
        broken, at = do(drawn[1])
        found = parse(form.name, broken, form.version)
        place = problem_at(broken, at, "", "")
        assert isinstance(found, list), found
        assert (found[0].line, found[0].path) == (place.line, place.path), str(found[0])

    check()


@settings(max_examples=150, deadline=None, database=None)
@given(st.sampled_from(FORMS), st.text(max_size=60) | st.text(' \n=[],"#:/.0aA-', max_size=60))
def test_nothing_raises(form: Form, text: str) -> None:
    """Whatever a text is, parsing it ends in a record or in problems with a place, never in an exception."""
    found = parse(form.name, text, form.version)
    assert not isinstance(found, list) or (found and all(one.line >= 1 and one.message and one.remedy for one in found))
