"""/events and rooms that only other servers are in."""

from __future__ import annotations

from urllib.parse import quote

from tests.api.test_old_sync import events, ids, settled, while_waiting
from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room


async def test_invites_from_outside_and_their_end(
    whole: WholeServer, other: WholeServer, alice: Client
) -> None:
    zoe = await other.register("zoe")
    room_id = f"{V3}/rooms/{quote(await create_room(zoe, preset='private_chat'))}"
    start = await settled(alice)
    invited = await while_waiting(
        alice, start, lambda: zoe.post(f"{room_id}/invite", {"user_id": alice.user_id})
    )
    [invite] = invited["chunk"]
    assert invite["content"]["membership"] == "invite"
    assert (invite["state_key"], invite["sender"]) == (alice.user_id, zoe.user_id)
    assert ids(await events(alice, start=start, timeout=0)) == [invite["event_id"]]
    assert (await events(alice, start=invited["end"], timeout=0))["chunk"] == []
    refused = await while_waiting(alice, invited["end"], lambda: alice.post(f"{room_id}/leave"))
    assert [event["content"]["membership"] for event in refused["chunk"]] == ["leave"]
    assert (await events(alice, start=refused["end"], timeout=0))["chunk"] == []
