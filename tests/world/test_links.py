"""Links of a world, by which a driver reaches an array's API, and the faults of the network that strike there."""

from __future__ import annotations

import pytest
from failing_parts import BEHIND, PORT, network_fails

from onesim.errors import ConfigError
from onesim.events import Answer
from onesim.world.namespaces import NamespaceWorld
from onetck.config import Config, LinkTable, links


def test_the_network_fails_on_the_way_to_a_service() -> None:
    """Connections by a link are refused, reset or delayed, by their number in the call; all others reach the service, whole."""
    with NamespaceWorld.start(links=((PORT, BEHIND),), on_question=lambda asked: Answer()) as world:
        network_fails(world)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0, 1)], "two ports from 1 to 65535"),
        ([(1000, 65536)], "two ports from 1 to 65535"),
        ([(1000, 2000), (3000, 1000)], "no link leads to another one"),
        ([(1000, 1000)], "no link leads to another one"),
        ([(2633, 2000)], "port = 2633 is taken"),
        ([(1000, 2000), (1000, 2001)], "port = 1000 is taken"),
    ],
)
def test_a_link_that_cannot_be_is_refused(rows: list[tuple[int, int]], said: str) -> None:
    """Ports out of range, a world's own, twice the same, or a link that leads to a link: one line names the row."""
    with pytest.raises(ConfigError, match=said):
        links(Config(link=tuple(LinkTable(*row) for row in rows)))
