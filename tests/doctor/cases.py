"""What a test breaks, and what it can break it with."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tests.doctor.chains import Maker
from tests.doctor.setup import Setup
from tests.federation.world import World


@dataclass
class Case:
    """A set-up to break: `setup` before it starts, `stack` for what has to be closed."""

    world: World
    setup: Setup
    chains: Maker
    monkeypatch: pytest.MonkeyPatch
    stack: AsyncExitStack


def trust(case: Case) -> None:
    """Have the doctor trust the authority of `chains` beside the tests' own."""
    both = case.chains.root_path.with_name("both.pem")
    both.write_bytes(case.world.authority.path.read_bytes() + case.chains.root_path.read_bytes())
    case.world.authority.path = both
