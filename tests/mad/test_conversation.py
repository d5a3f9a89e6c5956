"""oned's side of the conversation with a driver program: what is open, what is wrong, what is let pass."""

from __future__ import annotations

from onesim.mad.conversation import Conversation, Said, Wrong
from onesim.mad.wire import Answer, Log, Request
from onesim.spec import for_contract, load
from onetck.driver import find_driver
from onetck.mads import mads_of


def conversation() -> Conversation:
    """One under the newest contract."""
    return Conversation(for_contract("7.4").request_line)


def faults(said: list[Said]) -> list[str]:
    """Return the faults of lines."""
    return [one.meaning.fault for one in said if isinstance(one.meaning, Wrong)]


def test_an_answer_belongs_to_a_request_that_is_open() -> None:
    """Each request is answered once, in any order, in however many pieces the answer comes."""
    talk = conversation()
    assert talk.ask(Request("INIT")) == b"INIT\n"
    assert talk.hear(b"INIT SUCC") == []
    assert talk.hear(b"ESS 0 -\n\n") == [Said("INIT SUCCESS 0 -", Answer("INIT", True, 0, "-"))]
    assert talk.ask(Request("CP", 5, "xx")) == b"CP  5 xx\n"
    talk.ask(Request("RM", 6, "xx"))
    said = talk.hear(b"LOG I 5 hello\nRM SUCCESS 6 -\nCP SUCCESS 5 /d/5 raw\nCP SUCCESS 5 /d/5 raw\nRM SUCCESS 7 -\n")
    assert [one.meaning for one in said[:3]] == [Log("I", 5, "hello"), Answer("RM", True, 6, "-"), Answer("CP", True, 5, "/d/5 raw")]
    assert faults(said) == ["answer", "answer"]
    assert talk.requests == 3


def test_further_lines_of_a_script_are_let_pass_once() -> None:
    """They come as the driver printed them, even where they look like an answer; anything else is rubbish."""
    talk = conversation()
    talk.ask(Request("CP", 5, "xx"))
    talk.expect("one\ntwo\nCP SUCCESS 99 x raw\n")
    assert faults(talk.hear(b"CP SUCCESS 5 one\ntwo\nCP SUCCESS 99 x raw\n")) == []
    assert faults(talk.hear(b"two\n\x00\xff\nCP SUCCESS 99 x raw\n")) == ["line", "line", "answer"]


def test_a_cancelled_request_needs_no_answer() -> None:
    """One that was on its way is let pass, a second is not; asked again, it is open again."""
    talk = conversation()
    talk.ask(Request("TRANSFER", 3, "/t"))
    assert talk.cancel(Request("TRANSFER", 3, "/t")) == b"DRIVER_CANCEL  3 \n"
    assert [one.meaning for one in talk.hear(b"TRANSFER SUCCESS 3 -\n")] == [None]
    assert faults(talk.hear(b"TRANSFER SUCCESS 3 -\n")) == ["answer"]
    talk.cancel(Request("TRANSFER", 4))
    talk.ask(Request("TRANSFER", 4, "/t"))
    assert [one.meaning for one in talk.hear(b"TRANSFER FAILURE 4 no\n")] == [Answer("TRANSFER", False, 4, "no")]


def test_every_fault_breaks_one_requirement() -> None:
    """The table of what a program can do wrong and the requirements on programs are one list."""
    named = [fault for row in load().requirements if row.check == "keeps_protocol" for fault in row.when["fault"]]
    assert sorted(named) == sorted(load().mad_faults)


def test_the_usual_arguments_are_those_of_oned_conf() -> None:
    """All drivers of the tree, and the option that the contract supposes; what is given goes before it."""
    from pathlib import Path

    from onesim.data import data_dir
    from onetck.config import Config, MadTable

    driver = find_driver([data_dir("reference_driver") / "remotes"], "fs", "shared")
    config = Config(mad={"tm": MadTable("own", ("-t", "3")), "datastore": MadTable("own")})
    tm, datastore = mads_of([], config, Path(), for_contract("6.4-stdin"), driver)
    assert tm.command == ("/usr/lib/one/mads/one_tm", "-t 3")
    assert datastore.command == (
        "/usr/lib/one/mads/one_datastore",
        "-t 15 -d backup,ceph,fs,libvirt_pool,restic,rsync -s ceph,libvirt_pool,shared,ssh -i",
    )
    (only,) = mads_of(["tm=/usr/bin/true 'a b'"], Config(), Path(), for_contract("7.4"), driver)
    assert (only.path, only.arguments, only.data) == ("/usr/bin/true", ("a b",), None)
