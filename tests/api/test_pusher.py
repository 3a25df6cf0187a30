"""Pushers over HTTP, with a gateway that listens."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.backoff import BackoffPolicy
from homeserver.services.push import delivery
from homeserver.storage import accounts, pushers
from homeserver.storage.database import Transaction
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.push_gateway import PushGateway
from tests.support.whole import V3, WholeServer, create_room, membership, rename, say, send_path

SET, LIST = f"{V3}/pushers/set", f"{V3}/pushers"


class Room:
    """A room in which alice speaks and bob has a pusher; carol is there too."""

    def __init__(self, alice: Client, bob: Client, carol: Client, room_id: str) -> None:
        self.alice, self.bob, self.carol, self.room_id = alice, bob, carol, room_id

    async def read(self, client: Client, event_id: str) -> None:
        path = f"{V3}/rooms/{quote(self.room_id)}/receipt/m.read/{quote(event_id)}"
        (await client.post(path, {})).ok()


@pytest.fixture
async def room(gateway: PushGateway, whole: WholeServer) -> Room:
    alice, bob, carol = [await whole.register(name) for name in ("alice", "bob", "carol")]
    room_id = await create_room(alice, name="Lobby", room_alias_name="lobby")
    alias = f"{V3}/rooms/{quote(room_id)}/state/m.room.canonical_alias"
    (await alice.put(alias, {"alias": f"#lobby:{whole.server_name}"})).ok()
    for client in (bob, carol):
        (await membership(client, room_id, "join")).ok()
    return Room(alice, bob, carol, room_id)


async def test_a_pusher_is_set_listed_changed_and_deleted(whole: WholeServer, gateway: PushGateway) -> None:
    alice = await whole.register("alice")
    assert (await alice.get(LIST)).ok() == {"pushers": []}
    body = gateway.pusher(profile_tag="tag")
    assert (await alice.post(SET, {**body, "append": False})).ok() == {}
    assert (await alice.get(LIST)).ok() == {"pushers": [body]}
    (await alice.post(SET, gateway.pusher(lang="de"))).ok()
    (await alice.post(SET, gateway.pusher(pushkey="other"))).ok()
    assert (await alice.get(LIST)).ok()["pushers"] == [
        gateway.pusher(lang="de"),
        gateway.pusher(pushkey="other"),
    ]
    gone = {"kind": None, "app_id": "org.example.app", "pushkey": "key"}
    for _ in range(2):
        assert (await alice.post(SET, gone)).ok() == {}
    assert (await alice.get(LIST)).ok()["pushers"] == [gateway.pusher(pushkey="other")]


async def test_a_pushkey_belongs_to_one_user_unless_appended(
    whole: WholeServer, gateway: PushGateway
) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    (await alice.post(SET, gateway.pusher())).ok()
    (await bob.post(SET, gateway.pusher(append=True))).ok()
    assert len((await alice.get(LIST)).ok()["pushers"]) == 1
    (await bob.post(SET, gateway.pusher())).ok()
    assert (await alice.get(LIST)).ok()["pushers"] == []
    assert len((await bob.get(LIST)).ok()["pushers"]) == 1


URLS = (
    "http://gateway.example/_matrix/push/v1/notify",
    "https://gateway.example/",
    "https://gateway.example/_matrix/push/v1/notify/more",
    "https://gateway.example/_matrix/push/v1/../v1/notify",
    "https://user:password@gateway.example/_matrix/push/v1/notify",
    "https://gateway.example:99999/_matrix/push/v1/notify",
    "https:///_matrix/push/v1/notify",
    "https://gateway.example/_matrix/push/v1/notify#x",
    "nonsense",
    1,
)


async def test_what_is_no_pusher(whole: WholeServer, gateway: PushGateway) -> None:
    alice = await whole.register("alice")
    for name in ("app_id", "pushkey", "kind", "app_display_name", "device_display_name", "lang", "data"):
        body = gateway.pusher()
        del body[name]
        (await alice.post(SET, body)).refused(400, "M_MISSING_PARAM")
    for url in URLS:
        (await alice.post(SET, gateway.pusher(data={"url": url}))).refused(400, "M_INVALID_PARAM")
    (await alice.post(SET, gateway.pusher(data={}))).refused(400, "M_MISSING_PARAM")
    for wrong in (
        {"kind": "pigeon"},
        {"app_id": "x" * 65},
        {"app_id": ""},
        {"pushkey": "ä" * 257},
        {"pushkey": "x\0"},
        {"lang": "x" * 1000},
        {"data": {"url": gateway.url, "format": 3}},
        {"data": {"url": gateway.url, "much": "x" * 20_000}},
    ):
        (await alice.post(SET, gateway.pusher(**wrong))).refused(400, "M_INVALID_PARAM")
    (await alice.post(SET, gateway.pusher(lang=3))).refused(400, "M_BAD_JSON")
    (await alice.post(SET, gateway.pusher(kind="email", app_id="m.email", pushkey="a@example.org"))).refused(
        400, "M_THREEPID_NOT_FOUND"
    )
    assert (await alice.get(LIST)).ok() == {"pushers": []}
    for number in range(100):
        (await alice.post(SET, gateway.pusher(pushkey=f"key {number}"))).ok()
    (await alice.post(SET, gateway.pusher())).refused(400, "M_INVALID_PARAM")
    (await alice.post(SET, gateway.pusher(pushkey="key 0"))).ok()


async def test_a_message_is_pushed(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    await rename(room.alice, "Alice", room.room_id)
    said = await say(room.alice, room.room_id, "hello")
    (told,) = await gateway.until(1)
    server = room.alice.user_id.partition(":")[2]
    (device,) = told.pop("devices")
    assert told == {
        "event_id": said,
        "room_id": room.room_id,
        "type": "m.room.message",
        "sender": room.alice.user_id,
        "sender_display_name": "Alice",
        "room_name": "Lobby",
        "room_alias": f"#lobby:{server}",
        "prio": "low",
        "content": {"msgtype": "m.text", "body": "hello"},
        "counts": {"unread": 1},
    }
    assert device.pop("pushkey_ts") > 1_000_000_000
    assert device == {"app_id": "org.example.app", "pushkey": "key", "data": {"brand": "x"}, "tweaks": {}}


async def test_a_mention_is_urgent(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    content = {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [room.bob.user_id]}}
    (await room.alice.put(send_path(room.room_id), content)).ok()
    (told,) = await gateway.until(1)
    assert told["prio"] == "high"
    assert told["devices"][0]["tweaks"] == {"sound": "default", "highlight": True}


async def test_only_the_event_id_where_the_client_wants_that(room: Room, gateway: PushGateway) -> None:
    data = {"url": gateway.url, "format": "event_id_only"}
    (await room.bob.post(SET, gateway.pusher(data=data))).ok()
    said = await say(room.alice, room.room_id, "hello")
    (told,) = await gateway.until(1)
    (device,) = told.pop("devices")
    assert told == {"event_id": said, "room_id": room.room_id, "prio": "low", "counts": {"unread": 1}}
    assert set(device) == {"app_id", "pushkey", "pushkey_ts", "data"}
    assert device["data"] == {"format": "event_id_only"}


async def test_own_messages_and_muted_rooms_are_not_pushed(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    await say(room.bob, room.room_id, "mine")
    mute = f"{V3}/pushrules/global/room/{quote(room.room_id)}"
    (await room.bob.put(mute, {"actions": []})).ok()
    await say(room.alice, room.room_id, "unheard")
    (await room.bob.delete(mute)).ok()
    heard = await say(room.alice, room.room_id, "heard")
    assert [each["event_id"] for each in await gateway.until(1)] == [heard]


async def test_what_is_read_changes_the_number(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    other = await create_room(room.alice)
    (await membership(room.bob, other, "join")).ok()
    await say(room.alice, room.room_id, "one")
    await gateway.until(1)
    last = await say(room.alice, room.room_id, "two")
    await gateway.until(2)
    await say(room.alice, other, "three")
    told = await gateway.until(3)
    assert [each["counts"] for each in told] == [{"unread": 1}, {"unread": 1}, {"unread": 2}], (
        "rooms, not messages"
    )
    await room.read(room.bob, last)
    told = await gateway.until(4)
    assert set(told[3]) == {"counts", "devices"} and told[3]["counts"] == {"unread": 1}
    await say(room.bob, other, "my answer")
    assert (await gateway.until(5))[4]["counts"] == {"unread": 0}


async def test_invites_are_pushed_and_counted_until_they_are_answered(
    room: Room, whole: WholeServer, gateway: PushGateway
) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    invited = await create_room(room.alice, name="Secret", invite=[room.bob.user_id], preset="private_chat")
    (told,) = await gateway.until(1)
    assert (told["room_id"], told["type"], told["user_is_target"]) == (invited, "m.room.member", True)
    assert (told["room_name"], told["counts"], told["prio"]) == ("Secret", {"unread": 1}, "high")
    assert told["content"]["membership"] == "invite"
    (await membership(room.bob, invited, "leave")).ok()
    assert (await gateway.until(2))[1]["counts"] == {"unread": 0}


async def test_missed_calls_are_counted(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    content = {
        "call_id": "c",
        "version": "1",
        "party_id": "p",
        "lifetime": 1,
        "offer": {"type": "offer", "sdp": ""},
    }
    # Nobody is called in a public room.
    rules = f"{V3}/rooms/{quote(room.room_id)}/state/m.room.join_rules"
    (await room.alice.put(rules, {"join_rule": "invite"})).ok()
    (await room.alice.put(send_path(room.room_id, event_type="m.call.invite"), content)).ok()
    (told,) = await gateway.until(1)
    assert told["counts"] == {"unread": 1, "missed_calls": 1}
    assert told["devices"][0]["tweaks"] == {"sound": "ring"}


async def test_a_gateway_that_fails_gets_it_again(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    gateway.status = 502
    said = [await say(room.alice, room.room_id, "one"), await say(room.alice, room.room_id, "two")]
    await gateway.until_refused(2)
    gateway.status = 200
    assert [each["event_id"] for each in await gateway.until(2)] == said


async def test_the_time_of_the_next_try_may_come_while_the_failure_is_noted(
    room: Room, gateway: PushGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = pushers.set_progress

    async def slowly(tx: Transaction, pusher_id: int, progress: pushers.Progress) -> None:
        if progress.failures:
            time.sleep(0.05)  # noqa: ASYNC251 -- in the database's thread
        await keep(tx, pusher_id, progress)

    monkeypatch.setattr(pushers, "set_progress", slowly)
    monkeypatch.setattr(delivery, "POLICY", BackoffPolicy(quick=(1,), first_ms=3_600_000, jitter=0))
    (await room.bob.post(SET, gateway.pusher())).ok()
    gateway.status = 502
    said = await say(room.alice, room.room_id, "hello")
    await gateway.until_refused(1)
    gateway.status = 200
    assert [each["event_id"] for each in await gateway.until(1)] == [said]


async def test_what_was_not_pushed_is_pushed_after_a_restart(tmp_path: Path, gateway: PushGateway) -> None:
    server = WholeServer(Authority(tmp_path), tmp_path, number=151)
    async with server:
        alice, bob = await server.register("alice"), await server.register("bob")
        room_id = await create_room(alice)
        (await membership(bob, room_id, "join")).ok()
        (await bob.post(SET, gateway.pusher())).ok()
        gateway.status = 500
        said = await say(alice, room_id, "hello")
        await gateway.until_refused(1)
    gateway.status = 200
    async with server:
        assert [each["event_id"] for each in await gateway.until(1)] == [said]


async def test_what_was_read_meanwhile_is_not_pushed(room: Room, gateway: PushGateway) -> None:
    gateway.hold.clear()
    (await room.bob.post(SET, gateway.pusher())).ok()
    first = await say(room.alice, room.room_id, "one")
    await room.read(room.bob, await say(room.alice, room.room_id, "two"))
    gateway.hold.set()
    last = await say(room.alice, room.room_id, "three")
    told = await gateway.until(2)
    while told[-1].get("event_id") != last:
        told = await gateway.until(len(told) + 1)
    assert [each["event_id"] for each in told if "event_id" in each] in ([first, last], [last])


async def test_a_slow_gateway_holds_up_nobody_else(room: Room, tmp_path: Path, gateway: PushGateway) -> None:
    gateway.hold.clear()
    (await room.bob.post(SET, gateway.pusher())).ok()
    async with PushGateway(Authority(tmp_path, "of gateways"), 191) as swift:
        (await room.carol.post(SET, swift.pusher())).ok()
        for text in ("one", "two"):
            await asyncio.wait_for(say(room.alice, room.room_id, text), 10)
        assert len(await swift.until(2)) == 2
    assert gateway.told == []


async def test_a_rejected_pushkey_is_forgotten(room: Room, gateway: PushGateway) -> None:
    (await room.bob.post(SET, gateway.pusher())).ok()
    (await room.bob.post(SET, gateway.pusher(pushkey="other"))).ok()
    gateway.rejected = ["key", "of somebody else"]
    await say(room.alice, room.room_id, "one")
    await gateway.until(2)
    async with asyncio.timeout(20):
        while len((await room.bob.get(LIST)).ok()["pushers"]) > 1:
            pass
    assert (await room.bob.get(LIST)).ok()["pushers"] == [gateway.pusher(pushkey="other")]


async def test_a_pusher_goes_with_its_device(room: Room, whole: WholeServer, gateway: PushGateway) -> None:
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "bob"},
        "password": "a password",
    }
    answer = (await whole.client.post(f"{V3}/login", login)).ok()
    phone = whole.client.with_token(answer["access_token"])
    (await phone.post(SET, gateway.pusher())).ok()
    (await room.bob.post(SET, gateway.pusher(pushkey="desktop"))).ok()
    (await phone.post(f"{V3}/logout")).ok()
    assert (await room.bob.get(LIST)).ok()["pushers"] == [gateway.pusher(pushkey="desktop")]
    await say(room.alice, room.room_id, "one")
    last = await say(room.alice, room.room_id, "two")
    told = await gateway.until(2)
    assert {each["devices"][0]["pushkey"] for each in told} == {"desktop"}
    assert told[1]["event_id"] == last


async def test_a_locked_user_is_told_after_the_lock(
    room: Room, whole: WholeServer, gateway: PushGateway
) -> None:
    async def lock(is_locked: bool) -> None:
        async with whole.database() as database:
            await database.write(lambda tx: accounts.set_locked(tx, room.bob.user_id, is_locked))

    (await room.bob.post(SET, gateway.pusher(pushkey="bob"))).ok()
    (await room.carol.post(SET, gateway.pusher(pushkey="carol"))).ok()
    await lock(True)
    said = [await say(room.alice, room.room_id, "one"), await say(room.alice, room.room_id, "two")]
    told = await gateway.until(2)
    assert [each["devices"][0]["pushkey"] for each in told] == ["carol", "carol"]
    await lock(False)
    said.append(await say(room.alice, room.room_id, "three"))
    told = await gateway.until(6)
    to_bob = [each["event_id"] for each in told if each["devices"][0]["pushkey"] == "bob"]
    assert to_bob == said


async def test_addresses_that_are_blocked_are_not_pushed_to(
    room: Room, whole: WholeServer, gateway: PushGateway
) -> None:
    blocked = {"url": "https://127.0.0.1:1/_matrix/push/v1/notify"}
    (await room.bob.post(SET, gateway.pusher(data=blocked))).ok()
    await say(room.alice, room.room_id, "one")

    async def failing() -> int:
        async with whole.database() as database:
            return int(await database.read(lambda tx: tx.fetch_value("SELECT failures FROM pushers")))

    async with asyncio.timeout(20):
        while not await failing():
            pass
    # Set anew with a place that answers, the pusher is told at once.
    (await room.bob.post(SET, gateway.pusher())).ok()
    assert len(await gateway.until(1)) == 1


@pytest.mark.parametrize("answer", ["x", {"rejected": 1}, ["rejected"]])
async def test_an_answer_that_is_none_is_a_failure(room: Room, gateway: PushGateway, answer: Any) -> None:
    gateway.answer = answer
    (await room.bob.post(SET, gateway.pusher())).ok()
    said = await say(room.alice, room.room_id, "one")
    await gateway.until(1)
    gateway.answer = None
    assert [each["event_id"] for each in await gateway.until(2)] == [said, said]
