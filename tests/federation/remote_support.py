"""What the tests of the remote endpoints share."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from homeserver.core.events import Event
from homeserver.federation.errors import FederationError
from homeserver.federation.transport import matrix_path
from tests.federation.keys import event_by, keys_of

NAME = "a.example:8001"
A = keys_of("a.example")
USER = "@me:ours.example"


def member(state: str, version: str = "10") -> Event:
    """A membership event of ours, in the room."""
    return event_by(
        keys_of("ours.example"),
        version,
        type="m.room.member",
        sender=USER,
        state_key=USER,
        content={"membership": state},
    )


def path(*segments: str, version: str = "v1") -> str:
    """The path of a federation endpoint."""
    return matrix_path("_matrix", "federation", version, *segments)


async def refused(call: Awaitable[object], reason: str) -> FederationError:
    """The call fails with the stage "answer" for this reason."""
    with pytest.raises(FederationError, match=reason) as caught:
        await call
    assert caught.value.stage == "answer"
    return caught.value
