"""Transcripts: rc_admin_redaction, the limit of its own that redactions of what others sent may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership, say

LIMIT = {"per_second": 0.001, "burst_count": 3}


@pytest.fixture
def whole_settings(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Three messages for each user; and what the test gives."""
    return {"rc_message": LIMIT, "rc_admin_redaction": None, **request.param}


async def redact(client: Client, room_id: str, event_id: str, number: int) -> Answer:
    return await client.put(f"{V3}/rooms/{quote(room_id)}/redact/{quote(event_id)}/{number}", {})


async def room_with_messages(moderator: Client, other: Client) -> tuple[str, list[str]]:
    """A room of the moderator's with three messages of somebody else's, who has used up the limit with them."""
    room_id = await create_room(moderator)
    (await membership(other, room_id, "join")).ok()
    return room_id, [await say(other, room_id, f"spam {number}") for number in range(3)]


@pytest.mark.parametrize(
    "whole_settings", [{"rc_admin_redaction": {"per_second": 0.001, "burst_count": 5}}], indirect=True
)
async def test_a_limit_of_its_own(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, spam = await room_with_messages(alice, bob)
    mine = [await say(alice, room_id, f"mine {number}") for number in range(3)]
    # The messages are used up, what others sent can still be redacted ...
    for number in range(5):
        (await redact(alice, room_id, spam[number % 3], number)).ok()
    answer = (await redact(alice, room_id, spam[0], 5)).refused(429, "M_LIMIT_EXCEEDED")
    assert answer["retry_after_ms"] > 0
    # ... but what one sent oneself counts as a message.
    (await redact(alice, room_id, mine[0], 6)).refused(429, "M_LIMIT_EXCEEDED")
    # What nobody can redact is no way around the limit of messages.
    (await redact(bob, room_id, "$nothing", 7)).refused(429, "M_LIMIT_EXCEEDED")


@pytest.mark.parametrize("whole_settings", [{}], indirect=True)
async def test_without_it_they_are_messages(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    room_id, spam = await room_with_messages(alice, bob)
    for number, event_id in enumerate(spam):
        (await redact(alice, room_id, event_id, number)).ok()
    (await redact(alice, room_id, spam[0], 3)).refused(429, "M_LIMIT_EXCEEDED")
