"""Requests to every endpoint that is served, near what it takes and full of nonsense: none breaks the server, and what it answers
is what the specification's schemas say.

With FUZZ_EXAMPLES=500 every endpoint gets as many requests, other ones in every run; FUZZ_SEED=7 repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from homeserver import admin_api, client_api, federation_api
from homeserver.http import Endpoint

from .requests import requests
from .world import FuzzedRequest, World

EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
SEED = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(2**32))
PROFILE = settings(
    max_examples=int(EXAMPLES or 8),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    # The server remembers, so a failure cannot be repeated in another order: the request and its answer are shown.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ENDPOINTS = [*client_api.ENDPOINTS, *federation_api.ENDPOINTS, *admin_api.ENDPOINTS]
DISPOSABLE = {"logout", "logout_all", "set_profile_field", "delete_profile_field"}
"""Operations that cost the account its tokens, or write to all the rooms that it is in."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server, for all endpoints one after the other."""
    with World.running(tmp_path_factory.mktemp("world")) as running:
        yield running


def fuzzed(check: Callable[[FuzzedRequest], object]) -> Callable[[FuzzedRequest], object]:
    """Repeatable in the suite; other requests in every longer run."""
    return seed(SEED)(check) if EXAMPLES else check


@pytest.mark.parametrize(
    "endpoint", ENDPOINTS, ids=lambda each: f"{each.operation}-{each.method}-{each.path}"
)
def test_any_request(world: World, endpoint: Endpoint) -> None:
    scene = world.run(world.scene(disposable=endpoint.operation in DISPOSABLE))

    @PROFILE
    @fuzzed
    @given(requests(endpoint, scene))
    def answered(request: FuzzedRequest) -> None:
        world.check(request, endpoint)

    try:
        answered()
    finally:
        print(f"FUZZ_SEED={SEED if EXAMPLES else 'none'}; the slowest answer took {world.slowest:.2f} s")
    world.sweep(scene)
