"""The simulated oned reaches no file, process, socket, clock or chance, and refuses what oned refuses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import onesim
from onesim.events import CallAsked, CallFinished, OperationAsked, QuestionAsked, Refused
from onesim.layout import Subjected, make_cloud
from onesim.oned import Oned
from onesim.spec import for_contract

PACKAGE = Path(onesim.__file__).parent
#: Where purity begins: what these reach is pure too.
ROOTS = ("oned", "content", "mad/wire", "mad/transfer", "mad/results", "mad/conversation")
#: What reads the tables and schemas, once; and a document's UUID, which is made of the VM's number. Each may use what stands here, and nothing else.
TABLES = {
    "data": {"pathlib"},
    "spec": {"pathlib"},
    "schemas": {"pathlib"},
    "libvirt_tables": {"pathlib"},
    "validation": {"threading"},
    "documents": {"uuid"},
}


def imports(name: str) -> tuple[set[str], set[str]]:
    """Return what a module imports: modules of this package, and the first words of others."""
    own: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "onesim":
            own |= {alias.name for alias in node.names if (PACKAGE / f"{alias.name}.py").exists()}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onesim."):
            own.add(str(node.module)[len("onesim.") :].replace(".", "/"))
        elif isinstance(node, ast.ImportFrom):
            others.add(str(node.module).partition(".")[0])
    return own, others


def reachable() -> list[str]:
    """Return every module of the package that the roots reach."""
    found: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imports(name)[0]
    return sorted(found)


FORBIDDEN = {"os", "subprocess", "socket", "time", "random", "datetime", "pathlib", "threading", "tempfile", "shutil", "signal", "uuid", "secrets"}


@pytest.mark.parametrize("name", reachable())
def test_the_core_imports_nothing_that_does_anything(name: str) -> None:
    """No module of the core imports one through which the world could be reached."""
    _, imported = imports(name)
    assert imported & FORBIDDEN == TABLES.get(name, set())
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"]


def daemon() -> Oned:
    """A fresh oned."""
    return Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "shared", "shared"), True))


@pytest.mark.parametrize(
    ("op", "arguments", "reason"),
    [
        ("vm.stop", {"vm": "nobody"}, "no vm is called 'nobody'"),
        ("vm.create", {"vm": "a", "disks": [{"image": "none"}]}, "no image is called 'none'"),
        ("vm.create", {"vm": "a", "disks": [{"volatile": "fs"}]}, "size_mb"),
        ("vm.create", {"vm": "a", "disks": "x"}, "disks"),
        ("image.make", {"image": "a", "size_mb": -1}, "size_mb"),
        ("image.register", {"image": "a"}, "path"),
        ("image.delete", {"image": "a"}, "no image is called 'a'"),
        ("vm.fly", {}, "unknown"),
    ],
)
def test_an_operation_that_oned_refuses_is_refused_with_its_reason(op: str, arguments: dict[str, object], reason: str) -> None:
    """The reason names the thing, and nothing has changed."""
    oned = daemon()
    (refused,) = oned.feed(OperationAsked(0, op, arguments))
    assert isinstance(refused, Refused) and reason in refused.reason
    assert not oned.cloud.vms and not oned.cloud.images


def test_an_operation_in_the_wrong_state_names_state_and_operation() -> None:
    """A VM that is PENDING cannot be stopped; one that has a call outstanding is busy."""
    oned = daemon()
    oned.feed(OperationAsked(0, "vm.create", {"vm": "a", "disks": [{"volatile": "fs", "size_mb": 1}]}))
    (refused,) = oned.feed(OperationAsked(1, "vm.stop", {"vm": "a"}))
    assert isinstance(refused, Refused) and "vm.stop" in refused.reason and "PENDING" in refused.reason
    oned.feed(OperationAsked(2, "vm.deploy", {"vm": "a", "host": "host01"}))
    (busy,) = oned.feed(OperationAsked(3, "vm.terminate", {"vm": "a"}))
    assert isinstance(busy, Refused) and "busy" in busy.reason


def test_questions_are_answered_from_the_present_state() -> None:
    """show and list, XML and JSON, by id and by name; what is not there is an error as the command gives it."""
    oned = daemon()
    oned.feed(OperationAsked(0, "vm.create", {"vm": "a", "disks": [{"volatile": "fs", "size_mb": 1}]}))

    def ask(*argv: str) -> tuple[str, int]:
        (answer,) = oned.feed(QuestionAsked("command", argv))
        return answer.stdout.decode(), answer.status  # type: ignore[union-attr]

    assert "<LCM_STATE>0</LCM_STATE>" in ask("onevm", "show", "-x", "0")[0]
    oned.feed(OperationAsked(1, "vm.deploy", {"vm": "a", "host": "host02"}))
    shown, _ = ask("onevm", "show", "0", "--xml")
    assert "<LCM_STATE>1</LCM_STATE>" in shown and "<HOSTNAME>host02</HOSTNAME>" in shown
    assert '"DATASTORE"' in ask("onedatastore", "list", "--json")[0]
    assert "<NAME>images</NAME>" in ask("onedatastore", "show", "-x", "images")[0]
    assert "<NAME>host01</NAME>" in ask("onehost", "show", "-x", "0")[0]
    assert ask("onevm", "show", "-x", "77") == ("", 255)
    parameters = b"<param><value>s</value></param><param><value><int>0</int></value></param>"
    body = b"<?xml version='1.0'?><methodCall><methodName>one.vm.info</methodName><params>" + parameters + b"</params></methodCall>"
    (answer,) = oned.feed(QuestionAsked("xmlrpc", body=body))
    assert b"&lt;VM&gt;" in answer.stdout  # type: ignore[union-attr]


def test_a_migration_to_where_the_vm_is_or_to_another_driver_is_refused() -> None:
    """As oned refuses them; a VM that waits at the front-end may go to another driver's datastore."""
    oned = daemon()
    oned.cloud.datastores[100].tm_mad = "ssh"
    oned.cloud.tm_conf["ssh"] = oned.cloud.conf("shared")

    def ask(op: str, **arguments: str) -> str:
        outputs = oned.feed(OperationAsked(0, op, {"vm": "a", **arguments}))
        for output in outputs:
            if isinstance(output, CallAsked):
                outputs += oned.feed(CallFinished(output.call, True, "one-0"))
        return next((one.reason for one in outputs if isinstance(one, Refused)), "")

    assert not ask("vm.create", disks=[])  # type: ignore[arg-type]
    assert not ask("vm.deploy", host="host01")
    assert "already running on host [0] and datastore [0]" in ask("vm.migrate", host="host01")
    assert "different driver" in ask("vm.migrate", host="host02", datastore="system2")
    assert not ask("vm.undeploy")
    assert not ask("vm.deploy", host="host01", datastore="system2")
