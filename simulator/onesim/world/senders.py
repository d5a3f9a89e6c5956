"""Finds the process behind a connection or a datagram, by the kernel's tables of sockets. Standard library only."""

from __future__ import annotations

import os


def _inode(table: str, port: int, tables: str) -> str:
    """Return the inode of the socket that is bound to a port, empty if there is none."""
    try:
        with open(f"{tables}/{table}") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return ""
    return next((row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port and row[9] != "0"), "")


def process_at(table: str, port: int, pids: list[int], tables: str = "/proc/net") -> int:
    """Return the process among `pids` that holds the socket bound to `port`; 0 if it is gone. `table` is tcp, tcp6, udp or udp6, one of `tables`."""
    inode = _inode(table, port, tables)
    wanted = f"socket:[{inode}]"
    for pid in pids if inode else ():
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return pid
        except OSError:
            continue
    return 0
