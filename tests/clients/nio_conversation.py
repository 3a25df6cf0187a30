"""What matrix-nio does with messages: reactions, edits, threads, receipts, typing, presence."""

from typing import Any

import nio
from nio.api import ReceiptType, RelationshipType, ThreadInclusion

from .nio_person import Person, expect


async def relate(alice: Person, bob: Person, room_id: str) -> None:
    """A reaction, an edit and a thread; what they come to is bundled with the message."""
    root = await alice.say(room_id, "a rooot")

    def to_root(rel_type: str, **more: Any) -> dict[str, Any]:
        return {"m.relates_to": {"rel_type": rel_type, "event_id": root, **more}}

    async def bundled(person: Person) -> dict[str, Any]:
        got = expect(await person.client.room_get_event(room_id, root), nio.RoomGetEventResponse)
        relations: dict[str, Any] = got.event.source["unsigned"].get("m.relations", {})
        return relations

    async def children(rel_type: RelationshipType, **more: Any) -> list[str]:
        found = bob.client.room_get_event_relations(room_id, root, rel_type, limit=1, **more)
        return [event.event_id async for event in found]

    reaction = await bob.send(room_id, "m.reaction", to_root("m.annotation", key="👍"))
    seen = await alice.until_event(reaction, "the reaction")
    assert isinstance(seen, nio.ReactionEvent) and (seen.reacts_to, seen.key) == (root, "👍")
    twice = await bob.client.room_send(room_id, "m.reaction", to_root("m.annotation", key="👍"))
    assert expect(twice, nio.RoomSendError).status_code == "M_DUPLICATE_ANNOTATION"
    assert await children(RelationshipType.annotation, event_type="m.reaction") == [reaction]
    expect(await bob.client.room_redact(room_id, reaction), nio.RoomRedactResponse)
    assert await children(RelationshipType.annotation) == []

    new = {"msgtype": "m.text", "body": "a root"}
    edit = await alice.send(
        room_id, "m.room.message", {**new, "body": "* a root", "m.new_content": new, **to_root("m.replace")}
    )
    seen = await bob.until_event(edit, "the edit")
    assert seen.source["content"]["m.new_content"]["body"] == "a root"
    assert (await bundled(bob))["m.replace"]["event_id"] == edit

    replies = [
        await bob.send(
            room_id, "m.room.message", {"msgtype": "m.text", "body": f"reply {number}", **to_root("m.thread")}
        )
        for number in range(3)
    ]
    await alice.until_event(replies[-1], "the thread")
    assert await children(RelationshipType.thread) == replies[::-1]
    assert await children(RelationshipType.thread, direction=nio.MessageDirection.front) == replies
    thread = (await bundled(alice))["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (3, replies[-1])
    assert thread["current_user_participated"] is True  # by its root
    other = await alice.say(room_id, "another root")
    reply = {"msgtype": "m.text", "body": "to myself"}
    relation = {"rel_type": "m.thread", "event_id": other}
    await alice.send(room_id, "m.room.message", {**reply, "m.relates_to": relation})
    for include, found in ((ThreadInclusion.all, [other, root]), (ThreadInclusion.participated, [root])):
        threads = bob.client.room_get_threads(room_id, include, limit=1)
        assert [event.event_id async for event in threads] == found


async def mark_as_read(alice: Person, bob: Person, room_id: str) -> None:
    """Receipts that all see, one that nobody else does, one of a thread; and how far bob has really read."""
    ours, theirs = (person.client.rooms[room_id] for person in (alice, bob))
    first, second, third = [await alice.say(room_id, f"read me {number}") for number in range(3)]
    await bob.until_event(third, "what there is to read")

    async def read(fully: str, **receipts: str) -> None:
        """Receipts without a thread: nio's single receipts always have one."""
        expect(await bob.client.room_read_markers(room_id, fully, **receipts), nio.RoomReadMarkersResponse)

    def has_read(room: nio.MatrixRoom, event_id: str) -> bool:
        receipt = room.read_receipts.get(bob.user_id)
        return receipt is not None and receipt.event_id == event_id

    await read(first, read_event=first)
    await alice.until(lambda: has_read(ours, first), "bob's receipt")
    await bob.until(lambda: theirs.fully_read_marker == first, "the fully-read marker")
    assert ours.fully_read_marker is None
    await read(second, private_read_event=second)
    await bob.until(lambda: has_read(theirs, second), "bob's private receipt in his own sync")
    in_thread = await bob.client.update_receipt_marker(room_id, third, ReceiptType.read, "main")
    expect(in_thread, nio.UpdateReceiptMarkerResponse)
    threads = ours.threaded_read_receipts
    await alice.until(lambda: threads.get(bob.user_id), "the receipt of the main timeline")
    assert threads[bob.user_id]["main"].event_id == third
    assert has_read(ours, first), "the private receipt has reached alice"
    assert theirs.fully_read_marker == second


async def type_something(alice: Person, bob: Person, room_id: str) -> None:
    """Who is typing is seen, and that it has ended, by itself too."""
    room = alice.client.rooms[room_id]
    expect(await bob.client.room_typing(room_id, True), nio.RoomTypingResponse)
    await alice.until(lambda: room.typing_users == [bob.user_id], "bob to be typing")
    expect(await bob.client.room_typing(room_id, False), nio.RoomTypingResponse)
    await alice.until(lambda: room.typing_users == [], "bob to be done")
    expect(await bob.client.room_typing(room_id, True, timeout=300), nio.RoomTypingResponse)
    await alice.until(lambda: room.typing_users == [bob.user_id], "bob to be typing again")
    await alice.until(lambda: room.typing_users == [], "the notice to expire")


async def be_present(alice: Person, bob: Person) -> None:
    """What bob says of his presence reaches alice, and can be asked for."""
    for presence, message in (("unavailable", "at lunch"), ("online", "back again")):
        # What his syncs say: nio changes it only when the request is answered, and a sync that begins before that takes it back.
        bob.client._presence = presence
        expect(await bob.client.set_presence(presence, message), nio.PresenceSetResponse)
        await alice.until(
            lambda wanted=(presence, message): (
                (event := alice.presence.get(bob.user_id)) and (event.presence, event.status_msg) == wanted
            ),
            f"bob to be {presence}",
        )
        asked = expect(await alice.client.get_presence(bob.user_id), nio.PresenceGetResponse)
        assert (asked.presence, asked.status_msg) == (presence, message)
