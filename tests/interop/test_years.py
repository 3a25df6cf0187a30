"""What happens to rooms that servers share for years: access lists, upgrades, long histories, long absences, new signing keys."""

import asyncio
import sqlite3
import time
from collections.abc import Iterable

import pytest
import yaml
from signedjson.key import (
    encode_verify_key_base64,
    generate_signing_key,
    get_verify_key,
    read_signing_keys,
    write_signing_keys,
)

from tests.support.agreement import agree
from tests.support.network import until
from tests.support.our_server import OurServer
from tests.support.person import Person, Refused
from tests.support.synapse import Synapse

from .conftest import newcomer

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOTH_WAYS = pytest.mark.parametrize("direction", ["our room", "their room"])


async def host_and_guest(direction: str, matrix_org: Synapse, ours: OurServer) -> tuple[Person, Person]:
    """A user of the server that makes the room, and one of the other."""
    home, away = (ours, matrix_org) if direction == "our room" else (matrix_org, ours)
    return await newcomer(home, "host"), await newcomer(away, "guest")


async def has_event(person: Person, room_id: str, event_id: str) -> None:
    """Wait until the person's server shows an event."""

    async def seen() -> bool:
        return await person.event(room_id, event_id) is not None

    await until(seen, f"{person.user_id} to see {event_id}")


@BOTH_WAYS
async def test_a_server_that_the_access_list_denies(
    direction: str, matrix_org: Synapse, ours: OurServer
) -> None:
    host, guest = await host_and_guest(direction, matrix_org, ours)
    room_id = await host.create_room(preset="public_chat")
    via = [host.server_name]
    await guest.join(room_id, via=via)
    await agree(room_id, host, guest)
    acl = {"allow": ["*"], "deny": [guest.server_name.upper()], "allow_ip_literals": False}
    log_before = len(ours.log())
    await host.set_state(room_id, "m.room.server_acl", acl)
    unheard = await guest.send(room_id, "unheard")

    async def refused() -> bool:
        lines = [line for line in ours.log()[log_before:].splitlines() if room_id in line or unheard in line]
        return any(
            "may not take part" in line or "refuses our event" in line or "ACL" in line for line in lines
        )

    await until(refused, "the event to be refused")
    assert await host.event(room_id, unheard) is None
    # Nor does it get in by another door.
    await guest.leave(room_id)
    with pytest.raises(Refused) as caught:
        await guest.join(room_id, via=via)
    assert caught.value.status == 403
    await host.set_state(room_id, "m.room.server_acl", {**acl, "deny": []})
    await guest.join(room_id, via=via)
    heard = await guest.send(room_id, "heard")
    await has_event(host, room_id, heard)
    assert guest.user_id in await host.joined_members(room_id)


@BOTH_WAYS
@pytest.mark.parametrize(("old", "new"), [("9", "11"), ("11", "12")])
async def test_an_upgraded_room_leads_to_its_successor(
    direction: str, old: str, new: str, matrix_org: Synapse, ours: OurServer
) -> None:
    host, guest = await host_and_guest(direction, matrix_org, ours)
    room_id = await host.create_room(version=old, preset="public_chat", name="Old")
    via = [host.server_name]
    await guest.join(room_id, via=via)
    answer = await host.request("POST", "rooms", room_id, "upgrade", body={"new_version": new})
    successor = answer["replacement_room"]

    async def told() -> bool:
        tombstone = await guest.content(room_id, "m.room.tombstone")
        levels = await guest.content(room_id, "m.room.power_levels")
        closed = levels is not None and levels.get("events_default", 0) > 0
        return closed and tombstone is not None and tombstone["replacement_room"] == successor

    await until(told, "the tombstone to come, and what closes the room")
    with pytest.raises(Refused) as caught:
        await guest.send(room_id, "is anybody there?")
    assert caught.value.status == 403
    await guest.join(successor, via=via)
    create = await guest.content(successor, "m.room.create")
    assert create is not None and create["room_version"] == new
    assert create["predecessor"]["room_id"] == room_id
    name = await guest.content(successor, "m.room.name")
    assert name == {"name": "Old"}
    await guest.send(successor, "found")
    await agree(successor, host, guest)
    await agree(room_id, host, guest)


@BOTH_WAYS
async def test_five_hundred_events_from_before_the_join(
    direction: str, matrix_org: Synapse, ours: OurServer
) -> None:
    host, guest = await host_and_guest(direction, matrix_org, ours)
    room_id = await host.create_room(preset="public_chat")
    for start in range(0, 500, 10):  # ten at once: the graph has forks too
        await asyncio.gather(*(host.send(room_id, f"message {start + number}") for number in range(10)))
    await guest.join(room_id, via=[host.server_name])
    read = await guest.history(room_id)
    texts = [event["content"]["body"] for event in read if event["type"] == "m.room.message"]
    assert sorted(texts) == sorted(f"message {number}" for number in range(500))
    assert {event["event_id"] for event in await host.history(room_id)} == {
        event["event_id"] for event in read
    }
    await agree(room_id, host, guest)


def make_it_long_ago(server: Synapse | OurServer, columns: Iterable[str], milliseconds: int) -> int:
    """Have a stopped server's failures happen earlier than they did: as if so much time had passed. How many there were."""
    changes = ", ".join(f"{column} = {column} - {milliseconds}" for column in columns)
    with sqlite3.connect(server.database_path) as connection:
        return connection.execute(
            f"UPDATE destinations SET {changes} WHERE {next(iter(columns))} > 0"
        ).rowcount


@pytest.mark.parametrize("minutes", [10, 120])
async def test_servers_that_were_away_for_long_catch_up(
    minutes: int, alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer
) -> None:
    """After two hours only the newest event of each room is sent, and the other server fetches what is before it."""
    rooms = [await alice.create_room(preset="public_chat") for _ in range(2)]
    for room_id in rooms:
        await bob.join(room_id, via=["matrix.org"])
        await agree(room_id, alice, bob)
    await matrix_org.stop()
    said = {room_id: [await bob.send(room_id, f"bob {number}") for number in range(8)] for room_id in rooms}

    def failing() -> bool:
        with sqlite3.connect(ours.database_path) as connection:
            return bool(connection.execute("SELECT 1 FROM destinations").fetchone())

    async def has_failed() -> bool:
        return failing()

    await until(has_failed, "our server to notice that Synapse is away")
    await ours.stop()
    away = minutes * 60_000
    assert make_it_long_ago(ours, ["failing_since"], away) == 1
    with sqlite3.connect(ours.database_path) as connection:  # and its next try is far away
        connection.execute("UPDATE destinations SET failures = 12, retry_at = retry_at + 80000000")
    await matrix_org.start()
    heard = {
        room_id: [await alice.send(room_id, f"alice {number}") for number in range(8)] for room_id in rooms
    }
    await ours.start()
    # Whatever the other asks shows that it is back.
    await alice.request("GET", "profile", bob.user_id)
    for room_id in rooms:
        for event_id in said[room_id]:
            await has_event(alice, room_id, event_id)
    last = {room_id: await alice.send(room_id, "and you?") for room_id in rooms}
    for room_id in rooms:
        for event_id in (*heard[room_id], last[room_id]):
            await has_event(bob, room_id, event_id)
        room = await agree(room_id, alice, bob)
        assert {*said[room_id], *heard[room_id]} <= set(room.event_ids)
    assert not failing()


def rotate(server: Synapse | OurServer, config_path: str) -> None:
    """Give a stopped server a new signing key; the one until now is published as an old one."""
    path = server.signing_key_path
    with path.open() as file:
        (old,) = read_signing_keys(file)
    with path.open("w") as file:
        write_signing_keys(file, [generate_signing_key("rotated")])
    config = server.directory / config_path
    settings = yaml.safe_load(config.read_text())
    settings.setdefault("old_signing_keys", {})[f"{old.alg}:{old.version}"] = {
        "key": encode_verify_key_base64(get_verify_key(old)),
        "expired_ts": int(time.time() * 1000),
    }
    config.write_text(yaml.safe_dump(settings))


async def test_both_servers_change_their_keys_in_the_middle_of_a_conversation(
    alice: Person, bob: Person, matrix_org: Synapse, ours: OurServer
) -> None:
    shared = await alice.create_room(preset="public_chat")
    await bob.join(shared, via=["matrix.org"])
    await bob.send(shared, "with the old key")
    await alice.send(shared, "with the old key too")
    # Rooms that the other server sees only when the keys of their events have been retired.
    theirs, his = [await person.create_room(preset="public_chat") for person in (alice, bob)]
    await agree(shared, alice, bob)
    await asyncio.gather(ours.stop(), matrix_org.stop())
    for server in (ours, matrix_org):
        rotate(server, "homeserver.yaml")
    await asyncio.gather(ours.start(), matrix_org.start())
    new_from_bob = await bob.send(shared, "with the new key")
    await has_event(alice, shared, new_from_bob)
    new_from_alice = await alice.send(shared, "with the new key too")
    await has_event(bob, shared, new_from_alice)
    await agree(shared, alice, bob)
    await bob.join(theirs, via=["matrix.org"])
    await alice.join(his, via=[ours.server_name])
    for room_id in (theirs, his):
        await agree(room_id, alice, bob)
