"""Trees in which nothing has happened since they were looked at, as the kernel tells (inotify). Part of the agent; standard library only.

A picture is taken after every call, and most of what it shows are the scripts of drivers and /etc, which hardly any call touches. What is not told: a change
by another name of a file, outside the tree.
"""

from __future__ import annotations

import os
import struct

from onesim.world import syscalls as sc

_EVENT = struct.Struct("iIII")
_READ_BYTES = 1 << 16


class Quiet:
    """Watches trees. Where the kernel has no watches left for this user, no tree is ever still, and pictures look at everything."""

    def __init__(self) -> None:
        try:
            self._fd = sc.inotify()
        except OSError:
            self._fd = -1
        self._tree_of: dict[int, str] = {}
        self._watches: dict[str, list[int]] = {}

    def still(self, tree: str) -> bool:
        """Whether a tree is watched and nothing in it was changed, created, removed or opened for writing since it was."""
        self._take()
        return tree in self._watches

    def watch(self, tree: str) -> None:
        """Watch a tree from now on. Each directory is watched before it is listed, so that what is made meanwhile is told."""
        if self._fd < 0:
            return
        self._watches[tree] = []
        waiting = [tree]
        try:
            while waiting:
                directory = waiting.pop()
                number = sc.watch(self._fd, directory)
                self._tree_of[number] = tree
                self._watches[tree].append(number)
                with os.scandir(directory) as rows:
                    waiting += [row.path for row in rows if row.is_dir(follow_symlinks=False)]
        except OSError:
            self._forget(tree)

    def _take(self) -> None:
        """Take what the kernel has told, and forget the trees that it was told of."""
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                number, _, _, length = _EVENT.unpack_from(data, at)
                at += _EVENT.size + length
                for tree in list(self._watches) if number < 0 else [self._tree_of.get(number, "")]:  # below 0: events were lost
                    self._forget(tree)

    def _forget(self, tree: str) -> None:
        for number in self._watches.pop(tree, ()):
            self._tree_of.pop(number, None)
            sc.unwatch(self._fd, number)
