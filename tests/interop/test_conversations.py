"""What people on a Synapse and on ours say to each other, and what each server makes of it: both ways.

Receipts, typing and presence: `test_ephemeral.py`; upgrades: `test_years.py`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person, Refused, call, path_of
from tests.support.synapse import Synapse

from .conftest import newcomer

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("direction", ["our user acts", "their user acts"]),
]


class Talk:
    """A room of somebody who acts, with somebody on the other server in it who looks on."""

    def __init__(self, actor: Person, watcher: Person, room_id: str) -> None:
        self.actor, self.watcher, self.room_id = actor, watcher, room_id

    async def send(
        self, person: Person, text: str, relation: dict[str, str] | None = None, **more: Any
    ) -> str:
        """A message that has reached both servers; its event ID."""
        content = {
            "msgtype": "m.text",
            "body": text,
            **({"m.relates_to": relation} if relation else {}),
            **more,
        }
        return await self.everywhere(await person.send_event(self.room_id, "m.room.message", content))

    async def everywhere(self, event_id: str) -> str:
        """The event, once both see it."""
        for person in (self.actor, self.watcher):

            async def seen(person: Person = person) -> bool:
                return await person.event(self.room_id, event_id) is not None

            await until(seen, f"{person.user_id} to see {event_id}")
        return event_id

    async def both(self, find: Callable[[Person], Awaitable[Any]], wanted: Any) -> None:
        """Wait until both find the same."""
        for person in (self.actor, self.watcher):

            async def found(person: Person = person) -> bool:
                return bool(await find(person) == wanted)

            await until(found, f"{person.user_id} to find {wanted}, not {await find(person)}")

    async def bundled(self, person: Person, event_id: str) -> dict[str, Any]:
        """What a person's server bundles with an event."""
        event = await person.event(self.room_id, event_id)
        assert event is not None
        relations: dict[str, Any] = event.get("unsigned", {}).get("m.relations", {})
        return relations

    async def related(self, person: Person, event_id: str, *kinds: str) -> list[str]:
        """The events that a person's server relates to an event, oldest first."""
        answer = await v1(person, "rooms", self.room_id, "relations", event_id, *kinds, dir="f")
        return [event["event_id"] for event in answer["chunk"]]


async def v1(person: Person, *parts: str, **query: Any) -> Any:
    """A GET of /_matrix/client/v1."""
    path = path_of(*parts).replace("/v3/", "/v1/", 1)
    return await call(person.base_url, "GET", path, token=person.token, query=query)


@pytest_asyncio.fixture(loop_scope="session")
async def talk(direction: str, matrix_org: Synapse, ours: OurServer) -> Talk:
    """Both are in the room."""
    home, away = (ours, matrix_org) if direction == "our user acts" else (matrix_org, ours)
    actor, watcher = await newcomer(home, "speaker"), await newcomer(away, "listener")
    room_id = await actor.create_room(preset="public_chat", name="Talk")
    await watcher.join(room_id, via=[home.server_name])
    return Talk(actor, watcher, room_id)


async def test_reactions(talk: Talk) -> None:
    target = await talk.send(talk.watcher, "do you like it?")
    reaction = {"rel_type": "m.annotation", "event_id": target, "key": "👍"}
    reactions = [
        await talk.everywhere(await person.send_event(talk.room_id, "m.reaction", {"m.relates_to": reaction}))
        for person in (talk.actor, talk.watcher)
    ]
    kinds = ("m.annotation", "m.reaction")
    await talk.both(lambda person: talk.related(person, target, *kinds), reactions)
    with pytest.raises(Refused) as caught:
        await talk.actor.send_event(talk.room_id, "m.reaction", {"m.relates_to": reaction})
    assert caught.value.errcode == "M_DUPLICATE_ANNOTATION"
    await talk.actor.redact(talk.room_id, reactions[0])
    await talk.both(lambda person: talk.related(person, target, *kinds), reactions[1:])


async def test_edits(talk: Talk) -> None:
    original = await talk.send(talk.actor, "helo")
    relation = {"rel_type": "m.replace", "event_id": original}
    new = {"m.new_content": {"msgtype": "m.text", "body": "hello"}}
    edit = await talk.send(talk.actor, "* hello", relation, **new)
    forged = await talk.send(talk.watcher, "* not yours", relation, **new)

    async def replaced_by(person: Person) -> str | None:
        found: str | None = (await talk.bundled(person, original)).get("m.replace", {}).get("event_id")
        return found

    await talk.both(replaced_by, edit)
    assert forged != edit
    await talk.actor.redact(talk.room_id, edit)
    await talk.both(replaced_by, None)


async def test_threads(talk: Talk) -> None:
    root = await talk.send(talk.actor, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    replies = [
        await talk.send(person, f"reply of {person.user_id}", relation)
        for person in (talk.watcher, talk.actor, talk.watcher)
    ]
    other = await talk.send(talk.actor, "another root")
    await talk.send(talk.actor, "to myself", {"rel_type": "m.thread", "event_id": other})

    async def thread(person: Person) -> tuple[int, str, bool]:
        found = (await talk.bundled(person, root))["m.thread"]
        return found["count"], found["latest_event"]["event_id"], found["current_user_participated"]

    async def listed(person: Person, include: str) -> list[str]:
        answer = await v1(person, "rooms", talk.room_id, "threads", include=include)
        return [event["event_id"] for event in answer["chunk"]]

    await talk.both(thread, (3, replies[-1], True))
    await talk.both(lambda person: talk.related(person, root, "m.thread"), replies)
    await talk.both(lambda person: listed(person, "all"), [other, root])
    assert await listed(talk.actor, "participated") == [other, root]
    assert await listed(talk.watcher, "participated") == [root]
    await talk.watcher.redact(talk.room_id, replies[-1])
    await talk.both(thread, (2, replies[1], True))


async def test_redactions(talk: Talk) -> None:
    message = await talk.send(talk.watcher, "a slip")
    with pytest.raises(Refused) as caught:
        newest = await talk.send(talk.actor, "mine")
        await talk.watcher.redact(talk.room_id, newest)
    assert caught.value.status == 403
    redaction = await talk.actor.redact(talk.room_id, message, reason="not here")

    async def because(person: Person) -> Any:
        event = await person.event(talk.room_id, message)
        assert event is not None
        found = event.get("unsigned", {}).get("redacted_because")
        return found and (event["content"], found["event_id"], found["content"]["reason"])

    await talk.both(because, ({}, redaction, "not here"))


async def test_a_changed_profile_reaches_the_room(talk: Talk) -> None:
    profile = ("profile", talk.actor.user_id)
    for key, value in (("displayname", "The speaker"), ("avatar_url", "mxc://example.org/speaker")):
        await talk.actor.request("PUT", *profile, key, body={key: value})

    async def member(person: Person) -> tuple[Any, Any]:
        content = await person.content(talk.room_id, "m.room.member", talk.actor.user_id) or {}
        return content.get("displayname"), content.get("avatar_url")

    await talk.both(member, ("The speaker", "mxc://example.org/speaker"))
    asked = await talk.watcher.request("GET", *profile)
    assert (asked["displayname"], asked["avatar_url"]) == ("The speaker", "mxc://example.org/speaker")
    members = await talk.watcher.request("GET", "rooms", talk.room_id, "joined_members")
    assert members["joined"][talk.actor.user_id]["display_name"] == "The speaker"


async def test_a_space_is_looked_through_from_afar(talk: Talk) -> None:
    host, guest = talk.actor, talk.watcher
    via = [host.server_name]
    creation = {"creation_content": {"type": "m.space"}}
    space = await host.create_room(preset="public_chat", name="Space", **creation)
    inner = await host.create_room(preset="public_chat", name="Inner", **creation)
    hidden = await host.create_room(preset="private_chat", name="Hidden")
    children = ((space, talk.room_id, "a"), (space, hidden, "b"), (space, inner, "c"))
    for parent, child, order in children:
        await host.set_state(parent, "m.space.child", {"via": via, "order": order}, child)
    deep = await host.create_room(preset="public_chat", name="Deep")
    await host.set_state(inner, "m.space.child", {"via": via, "suggested": True}, deep)
    await guest.join(space, via=via)

    async def look(person: Person, **query: Any) -> list[str]:
        answer = await v1(person, "rooms", space, "hierarchy", **query)
        return [room["name"] for room in answer["rooms"]]

    assert await look(host) == ["Space", "Talk", "Hidden", "Inner", "Deep"]
    assert await look(guest) == ["Space", "Talk", "Inner", "Deep"]
    assert await look(guest, max_depth=1) == ["Space", "Talk", "Inner"]
    assert await look(guest, suggested_only="true") == ["Space"]
