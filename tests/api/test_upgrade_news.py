"""Transcripts: an upgrade is one unit of work on two rooms, and brings the news of both."""

from __future__ import annotations

from urllib.parse import quote

from tests.support.whole import V3, WholeServer, create_room, membership, sync


async def test_the_end_of_the_old_room_notifies_its_members(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    old = await create_room(alice, room_version="11")
    (await membership(bob, old, "join")).ok()
    since = (await sync(bob))["next_batch"]
    answer = await alice.post(f"{V3}/rooms/{quote(old)}/upgrade", {"new_version": "12"})
    answer.ok()
    counts = (await sync(bob, since))["rooms"]["join"][old]["unread_notifications"]
    assert counts == {"notification_count": 1, "highlight_count": 1}  # .m.rule.tombstone
    (told,) = (await bob.get(f"{V3}/notifications")).ok()["notifications"]
    assert (told["room_id"], told["event"]["type"]) == (old, "m.room.tombstone")
