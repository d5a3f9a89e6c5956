"""What fails around a driver, whatever makes the hosts: the network to a storage array's API, as small as can be, and a host that stands still."""

from __future__ import annotations

from itertools import pairwise

from onesim.world.interface import Fault, Service
from onesim.world.served import AgentWorld

PORT, BEHIND = 8080, 18080

_SERVER = f"""
import socket
with socket.create_server(("127.0.0.1", {BEHIND})) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            asked = b""
            while not asked.endswith(b"\\n") and (data := connection.recv(65536)):
                asked += data
            connection.sendall((asked.strip()[::-1] + b"\\n") * (300000 if b"much" in asked else 1))
"""
ARRAY = Service("array", f"exec python3 -c '{_SERVER}'", f"true >/dev/tcp/127.0.0.1/{BEHIND}")

#: Asks the array a question, and says what came of it in how many tenths of a second.
ASK = f"""ask() {{
    local begun=$EPOCHREALTIME
    {{ exec 3<>/dev/tcp/127.0.0.1/{PORT}; }} 2>&1 && echo "$1" >&3 && {{ cat <&3 2>&1 || true; }} && exec 3<&-
    echo " $(( (${{EPOCHREALTIME/./}} - ${{begun/./}}) / 100000 ))"
}}
"""


def asked(world: AgentWorld, script: str, *faults: Fault, host: str = "frontend") -> tuple[list[str], list[tuple[str, str]]]:
    """Run a script that asks the array. Returns the lines of its output, and its connections with what was done to them."""
    run = world.run(host, ["/bin/bash", "-c", ASK + script], call_id="call", faults=faults)
    return run.stdout.decode().splitlines(), [(one.name, one.fault) for one in run.commands if one.name.startswith("tcp:")]


def host_pauses(world: AgentWorld) -> None:
    """A host that stands still goes on where it stood, and so does who waits for it; another host does not wait."""
    script = """took() { local s=$EPOCHREALTIME; "${@:2}"; echo "$1 $s $EPOCHREALTIME"; }
        ssh host01 'for n in {1..40}; do echo tick $EPOCHREALTIME; sleep 0.05; done' &
        sleep 0.5; took copied ssh host01 'cp /etc/passwd /tmp/x' & sleep 1; took late ssh host01 true & took other ssh host02 true & wait"""
    run = world.run("frontend", ["/bin/bash", "-c", script], call_id="call", faults=(Fault("cp", 1, "pause", "2500", "host01"),))
    rows = [line.split() for line in run.stdout.decode().splitlines()]
    ticks = [float(row[1]) for row in rows if row[0] == "tick"]
    assert run.status == 0 and len(ticks) == 40 and any(later - earlier > 2 for earlier, later in pairwise(ticks)), run
    took = {row[0]: float(row[2]) - float(row[1]) for row in rows if row[0] != "tick"}
    assert took["copied"] > 2 and took["late"] > took["other"], took


def network_fails(world: AgentWorld) -> None:
    """Each fault strikes the connection that it is meant for, and no other one; and none the next call."""
    name = f"tcp:{PORT}"
    world.serve(ARRAY)
    said, seen = asked(world, "ask ab; ask cd")
    assert [line for line in said if line.strip().isalpha()] == ["ba", "dc"] and seen == [(name, ""), (name, "")], said
    said, seen = asked(world, "ask ab; ask cd; ask ef", Fault(name, 2, "reset"))
    assert "".join(said).count("reset by peer") == 1 and "ba" in said and "fe" in said and "dc" not in said, said
    assert seen == [(name, ""), (name, "reset"), (name, "")]
    said, seen = asked(world, "ask ab; ask cd; ask ef", Fault(name, 2, "refuse"))
    assert "ba" in said and "".join(said).count("Connection refused") >= 2, said
    assert seen == [(name, ""), (name, "refuse")]
    said, seen = asked(world, "ask ab; ask cd", Fault(name, 1, "slow", "900"))
    assert int(said[1]) >= 9 > int(said[-1]) and seen == [(name, "slow"), (name, "")], said
    said, seen = asked(world, "ask ab", Fault(f"tcp:{PORT + 1}", 1, "refuse"))
    assert "ba" in said and seen == [(name, "")], said
    much = world.run("host01", ["/bin/bash", "-c", ASK + "ask much | wc -c"])
    assert int(much.stdout) > 1000000, much
