"""Servers whose links are cut and healed in random order end with the same room.

PARTITION_SCHEDULES: how many schedules to run; PARTITION_SEED: the first one's seed. A failure says its seed:

    PARTITION_SCHEDULES=1 PARTITION_SEED=17 python -m pytest tests/partition/test_partition.py
"""

import os
import random

import pytest

from .conftest import Network
from .world import World

FIRST = int(os.environ.get("PARTITION_SEED", "1"))
SCHEDULES = int(os.environ.get("PARTITION_SCHEDULES", "12"))
VERSIONS = ("10", "12", "11", "6", "2")
STEPS = 40


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SCHEDULES))
async def test_servers_agree_when_links_are_healed(network: Network, seed: int) -> None:
    chance = random.Random(seed)
    version = VERSIONS[seed % len(VERSIONS)]
    world = World(network.servers, network.links, chance, version)
    await world.begin(late=chance.random() < 0.4)
    await world.run(STEPS)
    await world.end()
    print(f"seed {seed}, version {version}: {world.sent} events, up to {world.most_ends} ends")
    wrong = await world.disagreements()
    assert not wrong, f"seed {seed}, version {version}:\n" + "\n".join(wrong)
