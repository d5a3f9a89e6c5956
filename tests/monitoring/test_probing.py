"""The probes of a node in a real world, and what of datagrams and storage a world sees."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from onesim.datagrams import Message, decode
from onesim.events import Answer
from onesim.journal import BlobStore
from onesim.layout import Subjected, furnish, make_cloud
from onesim.oned import Oned
from onesim.probing import Probing
from onesim.records import Call
from onesim.spec import for_contract, load
from onesim.world import calls
from onesim.world.clients import DATAGRAM_PORT
from onesim.world.interface import Limits
from onesim.world.namespaces import NamespaceWorld
from onesim.world.senders import process_at

DS = "/var/lib/one/datastores"
KINDS = load().monitor.kinds()


@pytest.fixture
def world() -> Iterator[NamespaceWorld]:
    """A world whose hosts have datastores of their own."""
    with NamespaceWorld.start(shared=(), on_question=lambda question: Answer(status=1)) as made:
        yield made


class Node:
    """A node with datastores, of which the probes are run."""

    def __init__(self, world: NamespaceWorld, scratch: Path) -> None:
        self.world = world
        self.oned = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "ssh", "ssh"), shared=False))
        self.calls: list[Call] = []
        self.scratch = scratch

    def script(self, driver: str, text: str, mode: int = 0o755) -> None:
        """Give the node a monitor_ds."""
        self.world.put("host01", f"/var/tmp/one/tm/{driver}/monitor_ds", text.encode(), mode)

    def mark(self, datastore: str, text: str) -> None:
        """Mark a datastore."""
        self.world.put("host01", f"{DS}/{datastore}/.monitor", text.encode())

    def probe(self) -> dict[str, str]:
        """Run the probes. Returns the texts of the messages by their kind."""
        probing = Probing(
            self.world,
            self.oned,
            BlobStore(self.scratch),
            "c",
            7,
            {"expect": "success"},
            Limits(),
            lambda: len(self.calls),
            lambda: 0,
            self.calls.append,
        )
        found = [decode(data, KINDS) for data in probing.messages(self.oned.cloud.hosts[0])]
        assert all(isinstance(one, Message) and (one.oid, one.timestamp_s) == (0, 1_700_000_000) for one in found)
        return {one.kind: one.text if one.status == "SUCCESS" else one.status for one in found if isinstance(one, Message)}


@pytest.fixture
def node(world: NamespaceWorld, tmp_path: Path) -> Node:
    """A node without any datastore that is marked."""
    world.mkdir("host01", f"{DS}/0", f"{DS}/100")
    return Node(world, tmp_path)


def test_a_node_without_marks_tells_its_room_alone(node: Node) -> None:
    """The figures of the location; no datastore, no script, no sizes."""
    node.script("ssh", "#!/bin/bash\necho wrong\n")
    texts = node.probe()
    assert list(texts) == ["SYSTEM_HOST"] and node.calls == []
    names = [line.split("=")[0].strip() for line in texts["SYSTEM_HOST"].splitlines()]
    assert names == ["DS_LOCATION_USED_MB", "DS_LOCATION_TOTAL_MB", "DS_LOCATION_FREE_MB"]
    df = node.world.run("host01", ["/bin/df", "-B1M", "-P", DS]).stdout.decode().splitlines()[-1].split()
    assert [line.split("=")[1].strip() for line in texts["SYSTEM_HOST"].splitlines()] == [df[2], df[1], df[3]]


def test_the_script_is_run_as_the_probe_runs_it(node: Node) -> None:
    """One argument, nothing on standard input, in the location, as oneadmin, the driver's name without its line end."""
    node.mark("0", "mine\n")
    node.script("mine", '#!/bin/bash\necho "$#|$1|$(wc -c)|$PWD|$(id -u)|$0|$ONE_LOCATION|"\necho lost >&2\n')
    told = node.probe()["MONITOR_VM"]
    assert told == f"1|{node.oned.cloud.location}/0|0|{DS}|9869|/var/tmp/one/tm/mine/monitor_ds||\n"
    (call,) = node.calls
    assert (call.host, call.mad, call.action, call.argv, call.stderr.text) == (
        "host01",
        "mine",
        "monitor_ds",
        ("/var/lib/one//datastores/0",),
        "lost\n",
    )


def test_marked_directories_with_a_number_count_in_order(node: Node) -> None:
    """No other directory, no file, no mark elsewhere; outputs are put together, each with its line end."""
    for name in ("100", "9", "x1", "1x"):
        node.mark(name, "mine")
    node.world.put("host01", f"{DS}/7", b"a file")
    node.world.put("host01", f"{DS}/.monitor", b"mine")
    node.script("mine", '#!/bin/bash\nprintf "of ${1##*/}"\n')
    texts = node.probe()
    assert texts["MONITOR_VM"] == "of 100\nof 9\n"
    assert [line for line in texts["SYSTEM_HOST"].splitlines() if line.startswith("DS = ")] == ["DS = [ ID = 100,", "DS = [ ID = 9,"]


@pytest.mark.parametrize(
    ("mark", "driver", "text", "mode", "ended_by"),
    [
        ("mine", "other", "#!/bin/bash\necho x\n", 0o755, "missing"),
        ("", "mine", "#!/bin/bash\necho x\n", 0o755, "missing"),
        (" mine", "mine", "#!/bin/bash\necho x\n", 0o755, "missing"),
        ("another\nmine\n", "mine", "#!/bin/bash\necho x\n", 0o755, "missing"),
        ("mine", "mine", "#!/bin/bash\necho x\nexit 3\n", 0o755, "exit"),
        ("mine", "mine", "#!/bin/bash\necho x\nkill -9 $$\n", 0o755, "signal"),
    ],
)
def test_what_cannot_run_or_fails_says_nothing(node: Node, mark: str, driver: str, text: str, mode: int, ended_by: str) -> None:
    """The datastore's room is told all the same."""
    node.mark("0", mark)
    node.script(driver, text, mode)
    texts = node.probe()
    assert "DS = [ ID = 0," in texts["SYSTEM_HOST"] and "MONITOR_VM" not in texts
    assert [call.ended_by for call in node.calls] == [ended_by]


@pytest.mark.parametrize(("text", "mode", "ended_by"), [("#!/bin/bash\n", 0o644, "not_executable"), ("#!/no/such/shell\n", 0o755, "bad_interpreter")])
def test_what_cannot_be_executed_breaks_off_the_probe(node: Node, text: str, mode: int, ended_by: str) -> None:
    """The node reports a failure in place of all VMs, those of other datastores too; the rooms are another probe's."""
    for datastore, driver in (("0", "good"), ("100", "mine"), ("9", "good")):
        node.mark(datastore, driver)
    node.script("good", "#!/bin/bash\necho well\n")
    node.script("mine", text, mode)
    texts = node.probe()
    assert texts["MONITOR_VM"] == "FAILURE" and texts["SYSTEM_HOST"].count("DS = ") == 3
    assert [call.ended_by for call in node.calls] == ["exit", ended_by]


def test_a_world_measures_disks_and_reads_marks(world: NamespaceWorld) -> None:
    """Allocated and apparent bytes, snapshots, links followed; what is no disk is left out, what dangles too."""
    script = f"""cd {DS} && mkdir -p 0/3/disk.0.snap 0/x 0/4 1 && head -c 3000000 /dev/zero >0/3/disk.0 && truncate -s 5M 0/3/disk.11
    cp 0/3/disk.0 1/image; ln -s {DS}/1/image 0/4/disk.1; ln -s /nowhere 0/4/disk.2; touch 0/3/disk.0.part 0/x/disk.0 0/3/vm.xml; cp 0/3/disk.0 0/3/disk.0.snap/12"""
    world.must_run("host02", ["/bin/bash", "-c", script])
    found = world.disk_sizes("host02", f"{DS}/0")
    assert {name: apparent for name, (_, apparent) in found.items()} == {
        "3/disk.0": 3000000,
        "3/disk.11": 5 << 20,
        "3/disk.0.snap/12": 3000000,
        "4/disk.1": 3000000,
    }
    assert found["3/disk.0"][0] >= 3000000 and found["3/disk.11"][0] == 0
    assert world.disk_sizes("host01", f"{DS}/0") == {} and world.disk_sizes("host01", "/nowhere") == {}
    assert world.read("host02", "/nowhere") == b"" and world.read("host02", DS) == b""
    assert world.read("host02", f"{DS}/0/3/disk.0", 5) == b"\0" * 5


def test_monitord_conf_leads_to_the_port_that_listens(world: NamespaceWorld) -> None:
    """As the helper of OpenNebula reads it: one line has PORT, with the number as third word; a datagram sent there arrives, from each host."""
    subject = Subjected(b"\0" * 1024, "fs", "shared", "shared")
    furnish(world, make_cloud(subject, False), subject)
    conf = load().monitor.daemon.conf
    read = f"""value() {{ grep $1 {conf} | cut -d , -f1 | awk '{{print $3}}' | sed 's/^"\\(.*\\)"$/\\1/'; }}; value MONITOR_ADDRESS; value PORT; value PUBKEY"""
    assert world.run("frontend", ["/bin/bash", "-c", read]).stdout == f"auto\n{DATAGRAM_PORT}\n\n".encode()
    to = f"/dev/udp/127.0.0.1/{DATAGRAM_PORT}"
    send = f"echo here >{to}; ssh host01 'echo there >{to}'; echo last >{to}"
    for _ in range(20):
        assert world.run("frontend", ["/bin/bash", "-c", send]).datagrams == (b"here\n", b"there\n", b"last\n")
    assert world.run("frontend", ["/bin/bash", "-c", "true"]).datagrams == ()


def test_a_flood_of_datagrams_is_bounded(world: NamespaceWorld) -> None:
    """A thousand are kept, and the world goes on."""
    run = world.run("frontend", ["/bin/bash", "-c", f"for ((n = 0; n < 1500; n++)); do echo $n >/dev/udp/127.0.0.1/{DATAGRAM_PORT}; done"])
    assert run.ended_by == "exit" and 500 < len(run.datagrams) <= 1000 and run.datagrams[0] == b"0\n"


def test_the_sender_of_a_datagram_is_found_by_its_port() -> None:
    """The process that has the port; nobody once it is closed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
        assert process_at("udp", port, calls.processes()) == os.getpid()
    assert process_at("udp", port, calls.processes()) == 0
