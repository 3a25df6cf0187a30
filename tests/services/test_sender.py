"""The queues to other servers, with a network of the test's own."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from homeserver.core.backoff import BackoffPolicy
from homeserver.core.canonical_json import decode_json, encode_canonical
from homeserver.federation.errors import FederationError
from homeserver.services import sender as sender_module
from homeserver.services.sender import CATCH_UP_AFTER_MS, Sender
from homeserver.services.timeline import Draft
from homeserver.storage import destinations, outbox
from homeserver.storage import events as stored_events
from homeserver.storage.database import Database, Transaction
from tests.support.federation_peer import until
from tests.support.rooms import RoomServices, open_sqlite

POLICY = BackoffPolicy(quick=(), first_ms=1_000, multiplier=2, most_ms=8_000, jitter=0)
PATIENT = BackoffPolicy(quick=(), first_ms=3_600_000, most_ms=24 * 3_600_000, jitter=0)
BOB = "@bob:ours.test"


@dataclass
class Network:
    """Notes what is sent where. `answers` are taken one after the other by each destination; then all goes well."""

    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    answers: dict[str, list[Any]] = field(default_factory=dict)
    held: asyncio.Event | None = None
    hanging: dict[str, asyncio.Event] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0

    async def send(self, destination: str, transaction_id: str, body: bytes) -> dict[str, str | None]:
        """Be the network."""
        self.sent.append((destination, transaction_id, body))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            held = self.hanging.get(destination, self.held)
            if held:
                await held.wait()
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        answer = (self.answers.get(destination) or [{}]).pop(0) if self.answers.get(destination) else {}
        if isinstance(answer, FederationError):
            raise answer
        return answer  # type: ignore[no-any-return]

    def pdus(self, destination: str) -> list[list[str]]:
        """The texts in the transactions to a server."""
        return [
            [pdu["content"].get("body", pdu["type"]) for pdu in decode_json(body)["pdus"]]
            for name, _, body in self.sent
            if name == destination
        ]


def failure(destination: str, stage: Any = "connect", **details: Any) -> FederationError:
    """How a request fails."""
    return FederationError(destination, stage, "nobody is there", **details)


@dataclass
class Setting:
    """A sender, with rooms to take events from."""

    database: Database
    services: RoomServices
    network: Network
    senders: list[Sender] = field(default_factory=list)

    async def sender(self) -> Sender:
        """A started sender, as after a start of the server."""
        sender = self.sender_with(POLICY)
        await sender.start()
        return sender

    def sender_with(self, policy: BackoffPolicy) -> Sender:
        """A sender that is not started."""
        sender = Sender(
            self.database, self.network.send, "ours.test", self.services.clock, policy, random.Random(1)
        )
        self.senders.append(sender)
        return sender

    async def say(self, room_id: str, texts: Sequence[str], *servers: str) -> None:
        """Send messages, queued for these servers."""
        drafts = [Draft(BOB, "m.room.message", {"body": text}) for text in texts]
        event_ids = await self.services.timeline.send_many(room_id, drafts)

        async def work(tx: Transaction) -> None:
            for stored in (await stored_events.get_many(tx, event_ids)).values():
                await outbox.add(tx, servers, stored.nid)

        await self.database.write(work)

    async def waiting(self) -> list[str]:
        """The servers for which something is in the outbox."""
        return await self.database.read(outbox.waiting)

    async def failing(self) -> list[destinations.Failing]:
        """The servers that do not answer."""
        return await self.database.read(destinations.failing)


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    """Rooms, and a network."""
    database = await open_sqlite(tmp_path / "homeserver.db")
    setting = Setting(database, RoomServices(database), Network())
    yield setting
    for sender in setting.senders:
        await sender.stop()
    await database.close()


async def test_events_are_sent_and_taken_out(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    await setting.say(room_id, ["one", "two"], "a.test", "b.test")
    sender.wake(["a.test", "b.test"])
    await until(lambda: len(setting.network.sent) == 2)
    assert setting.network.pdus("a.test") == setting.network.pdus("b.test") == [["one", "two"]]
    body = setting.network.sent[0][2]
    assert encode_canonical(json.loads(body)) == body  # as it is signed
    assert json.loads(body)["origin"] == "ours.test"
    await until_async(lambda: is_empty(setting))
    assert sender._peers == {}


async def is_empty(setting: Setting) -> bool:
    """Whether nothing is left to send."""
    return await setting.waiting() == []


async def until_async(condition: Callable[[], Any]) -> None:
    """Wait until something in the database is so."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.005)


async def test_at_most_fifty_at_once_and_one_transaction_at_a_time(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    await setting.say(room_id, [str(number) for number in range(120)], "a.test")
    for _ in range(5):
        sender.wake(["a.test"])
        await asyncio.sleep(0)
    await until_async(lambda: is_empty(setting))
    assert [len(pdus) for pdus in setting.network.pdus("a.test")] == [50, 50, 20]
    assert [text for texts in setting.network.pdus("a.test") for text in texts] == [
        str(number) for number in range(120)
    ]
    assert setting.network.most_under_way == 1


async def test_what_comes_while_sending_follows(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.held = asyncio.Event()
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    await until(lambda: setting.network.sent)
    await setting.say(room_id, ["two"], "a.test")
    sender.wake(["a.test"])
    setting.network.held.set()
    await until_async(lambda: is_empty(setting))
    assert setting.network.pdus("a.test") == [["one"], ["two"]]


async def test_a_failed_transaction_is_repeated_as_it_was(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.answers["a.test"] = [failure("a.test"), failure("a.test")]
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    await until_async(setting.failing)
    (row,) = await setting.failing()
    assert (row.failures, row.retry_at, row.reason) == (
        1,
        setting.services.clock.now + 1_000,
        "nobody is there",
    )
    await setting.say(room_id, ["two"], "a.test")
    sender.wake(["a.test"])
    await asyncio.sleep(0)
    assert len(setting.network.sent) == 1  # it waits for its time
    setting.services.clock.now += 60_000
    sender.heard_from("a.test")
    await until(lambda: len(setting.network.sent) == 2)
    await until_async(lambda: failures(setting, 2))
    setting.services.clock.now += 60_000
    sender.heard_from("a.test")
    await until_async(lambda: is_empty(setting))
    first, second, third, fourth = setting.network.sent
    assert first == second == third
    assert fourth[1] != first[1] and setting.network.pdus("a.test")[3] == ["two"]
    assert await setting.failing() == []


async def failures(setting: Setting, count: int) -> bool:
    """Whether the one server that fails has failed this often."""
    return [row.failures for row in await setting.failing()] == [count]


async def test_a_restart_loses_nothing(setting: Setting) -> None:
    first = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.answers["a.test"] = [failure("a.test")]
    await setting.say(room_id, ["one"], "a.test", "b.test")
    first.wake(["a.test"])
    await until_async(setting.failing)
    await first.stop()
    second = await setting.sender()
    await until(lambda: setting.network.pdus("b.test"))  # it was queued and never tried
    setting.services.clock.now += 60_000
    second.heard_from("a.test")
    await until_async(lambda: is_empty(setting))
    to_a = [sent for sent in setting.network.sent if sent[0] == "a.test"]
    assert len(to_a) == 2 and to_a[0] == to_a[1]


async def test_what_is_sent_while_it_starts_is_not_sent_twice(setting: Setting) -> None:
    """Work in the background begins as soon as it is wired, which is before the sender has read what it left."""
    failing = destinations.Failing("a.test", 1, 1, 1, "nobody is there")
    await setting.database.write(lambda tx: destinations.set_failing(tx, failing))
    await setting.say(await setting.services.room(BOB), ["one"], "a.test")
    setting.network.held = asyncio.Event()
    sender = setting.sender_with(POLICY)
    sender.wake(["a.test"])
    await until(lambda: setting.network.under_way)
    await sender.start()  # its next try is due
    await asyncio.sleep(0.05)
    setting.network.held.set()
    await until_async(lambda: is_empty(setting))
    assert setting.network.pdus("a.test") == [["one"]]
    assert await setting.failing() == []


@pytest.mark.parametrize("seed", range(5))
async def test_over_a_bad_network_each_server_gets_each_event_once_and_in_order(
    setting: Setting, seed: int
) -> None:
    chance = random.Random(seed)
    taken: dict[str, dict[str, list[str]]] = {"a.test": {}, "b.test": {}, "c.test": {}}

    async def send(destination: str, transaction_id: str, body: bytes) -> dict[str, str | None]:
        await asyncio.sleep(0)
        luck = chance.random()
        if luck < 0.3:
            raise failure(destination)
        # Servers take a transaction ID once: "the receiving server MUST NOT process it again".
        texts = [pdu["content"]["body"] for pdu in decode_json(body)["pdus"]]
        assert taken[destination].setdefault(transaction_id, texts) == texts
        if luck < 0.6:
            raise failure(destination, "timeout")  # the answer is lost
        return {}

    setting.network.send = send  # type: ignore[method-assign]
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    for number in range(30):
        await setting.say(room_id, [str(number)], *taken)
        sender.wake(taken)
        if chance.random() < 0.2:
            await sender.stop()
            sender = await setting.sender()
        setting.services.clock.now += 10_000
        for name in taken:
            sender.heard_from(name)
        await asyncio.sleep(0.005)
    async with asyncio.timeout(20):
        while await setting.waiting():
            setting.services.clock.now += 1_000
            for name in taken:
                if (peer := sender._peers.get(name)) and peer.failing and peer.task is None:
                    sender._begin(peer)  # as its timer does in time
            await asyncio.sleep(0.005)
    for transactions in taken.values():
        assert [text for texts in transactions.values() for text in texts] == [str(n) for n in range(30)]


async def test_stopping_while_a_transaction_is_under_way(setting: Setting) -> None:
    first = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.held = asyncio.Event()
    await setting.say(room_id, ["one"], "a.test")
    first.wake(["a.test"])
    await until(lambda: setting.network.sent)
    await first.stop()
    setting.network.held = None
    await setting.sender()
    await until_async(lambda: is_empty(setting))
    before, after = setting.network.sent
    assert before == after


def seconds_to_next_try(sender: Sender, name: str) -> float:
    """How long the sender waits before it tries a server again."""
    timer = sender._peers[name].timer
    assert timer is not None
    return timer.when() - asyncio.get_running_loop().time()


async def fail_often(setting: Setting, sender: Sender, times: int) -> None:
    """Let a server be unreachable until the sender has tried it so many times, and rests for over an hour."""
    setting.network.answers["a.test"] = [failure("a.test")] * times
    room_id = await setting.services.room(BOB)
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    for count in range(1, times + 1):
        await until_async(lambda count=count: failures(setting, count))
        await until(lambda: sender._peers["a.test"].task is None)
        if count < times:
            sender._begin(sender._peers["a.test"])  # as its timer does in time


async def test_a_server_that_comes_back_is_noticed_at_once(setting: Setting) -> None:
    sender = setting.sender_with(PATIENT)
    await fail_often(setting, sender, 6)
    assert seconds_to_next_try(sender, "a.test") > 20 * 3600
    sender.heard_from("a.test")  # no time has passed since the last try
    await until_async(lambda: is_empty(setting))
    assert len(setting.network.sent) == 7
    assert await setting.failing() == []


async def test_what_is_heard_while_a_try_hangs_counts_when_it_has_failed(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.held = asyncio.Event()
    setting.network.answers["a.test"] = [failure("a.test", "timeout")]
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    await until(lambda: setting.network.sent)
    sender.heard_from("a.test")
    sender.wake(["a.test"])  # and more to send is no reason to try before the time
    setting.network.held.set()
    await until_async(lambda: is_empty(setting))
    assert len(setting.network.sent) == 2


async def test_the_time_of_the_next_try_may_come_while_the_failure_is_noted(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = destinations.set_failing

    async def slowly(tx: Transaction, failing: destinations.Failing) -> None:
        time.sleep(0.05)  # noqa: ASYNC251 -- in the database's thread
        await note(tx, failing)

    monkeypatch.setattr(destinations, "set_failing", slowly)
    sender = setting.sender_with(BackoffPolicy(quick=(1,), first_ms=3_600_000, most_ms=3_600_000, jitter=0))
    setting.network.answers["a.test"] = [failure("a.test")]
    await setting.say(await setting.services.room(BOB), ["one"], "a.test")
    sender.wake(["a.test"])
    await until_async(lambda: is_empty(setting))
    assert len(setting.network.sent) == 2


async def test_news_for_a_server_that_has_just_failed_is_no_reason_to_try_it_again(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.held = asyncio.Event()
    setting.network.answers["a.test"] = [failure("a.test")] * 5
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    await until(lambda: setting.network.sent)
    sender.wake(["a.test"])
    setting.network.held.set()
    await until_async(setting.failing)
    await until(lambda: sender._peers["a.test"].task is None)
    assert seconds_to_next_try(sender, "a.test") > 0.5
    assert len(setting.network.sent) == 1


async def test_a_server_that_reaches_us_and_is_out_of_our_reach_is_not_hammered(setting: Setting) -> None:
    sender = setting.sender_with(PATIENT)
    await fail_often(setting, sender, 1)
    setting.network.answers["a.test"] = [failure("a.test")] * 50
    pauses = []
    for tries in range(2, 12):
        for _ in range(20):
            sender.heard_from("a.test")
            sender.heard_from("unknown.test")
            await asyncio.sleep(0)
        if tries > 2:  # the first is made at once
            pauses.append(round(seconds_to_next_try(sender, "a.test")))
            assert len(setting.network.sent) == tries - 1
            sender._begin(sender._peers["a.test"])  # as its timer does in time
        await until_async(lambda tries=tries: failures(setting, tries))
        await until(lambda: sender._peers["a.test"].task is None)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]


async def test_servers_that_let_requests_hang_hold_up_nobody_else(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "SLOW_AFTER_S", 0.05)
    monkeypatch.setattr(sender_module, "MAX_IN_FLIGHT", 20)
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    hanging = [f"hanging{number}.test" for number in range(100)]
    for name in hanging:
        setting.network.hanging[name] = asyncio.Event()
    await setting.say(room_id, ["one"], *hanging, "good.test")
    sender.wake([*hanging, "good.test"])
    await until(lambda: setting.network.pdus("good.test"))
    await until_async(lambda: has_nothing(setting, "good.test"))
    assert setting.network.under_way == 100


async def test_thousands_of_servers_that_do_not_answer_are_held_cheaply(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    names = [f"gone{number}.test" for number in range(3_000)]
    for name in names:
        setting.network.answers[name] = [failure(name)] * 100
    await setting.say(room_id, ["x" * 40_000], *names, "good.test")
    sender.wake([*names, "good.test"])
    async with asyncio.timeout(60):
        while len(await setting.failing()) < len(names) or any(p.task for p in sender._peers.values()):  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.05)
    assert setting.network.most_under_way <= sender_module.MAX_IN_FLIGHT
    assert "good.test" not in sender._peers
    # A timer for each, and nothing else: no task, and no copy of what it has not answered.
    held = list(sender._peers.values())
    assert len(held) == len(names)
    assert all(peer.task is None and peer.unanswered is None and not peer.edus for peer in held)
    await sender.stop()
    again = await setting.sender()
    await asyncio.sleep(0)
    assert len(again._peers) == len(names) and all(peer.task is None for peer in again._peers.values())


async def test_a_server_that_was_away_for_long_gets_the_newest_of_each_room(setting: Setting) -> None:
    sender = await setting.sender()
    one, two = await setting.services.room(BOB), await setting.services.room(BOB)
    setting.network.answers["a.test"] = [failure("a.test")]
    await setting.say(one, ["first"], "a.test")
    sender.wake(["a.test"])
    await until_async(setting.failing)
    await setting.say(one, [f"one {number}" for number in range(60)], "a.test", "b.test")
    await setting.say(two, [f"two {number}" for number in range(60)], "a.test")
    setting.services.clock.now += CATCH_UP_AFTER_MS + 1
    sender.heard_from("a.test")
    await until_async(lambda: has_nothing(setting, "a.test"))
    # First what was not answered, as it was.
    assert setting.network.pdus("a.test") == [["first"], ["first"], ["one 59", "two 59"]]
    assert "b.test" in await setting.waiting()


async def has_nothing(setting: Setting, server: str) -> bool:
    """Whether nothing is left for a server."""
    return server not in await setting.waiting()


async def test_an_event_that_a_server_will_never_take_does_not_hold_up_the_others(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    refusal = failure("a.test", "http", status=400, errcode="M_BAD_JSON")
    setting.network.answers["a.test"] = [refusal, refusal, refusal, {}, {}]
    await setting.say(room_id, ["bad", "good", "better", "best"], "a.test")
    sender.wake(["a.test"])
    await until_async(lambda: is_empty(setting))
    assert setting.network.pdus("a.test") == [
        ["bad", "good", "better", "best"],
        ["bad", "good"],
        ["bad"],
        ["good", "better", "best"],
    ]


async def test_a_proxys_refusal_drops_nothing(setting: Setting) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    setting.network.answers["a.test"] = [failure("a.test", "http", status=413)]
    await setting.say(room_id, ["one"], "a.test")
    sender.wake(["a.test"])
    await until_async(setting.failing)
    assert await setting.waiting() == ["a.test"]


async def test_edus(setting: Setting) -> None:
    sender = await setting.sender()
    for number in range(150):
        sender.queue_edu(["a.test"], "m.presence", {"n": number})
    for number in range(10):
        sender.queue_edu(["a.test"], "m.typing", {"n": number}, replaces="!room")
    await until(lambda: len(setting.network.sent) == 2)
    edus = [decode_json(body)["edus"] for _, _, body in setting.network.sent]
    assert [len(each) for each in edus] == [100, 51]
    assert edus[1][-1] == {"edu_type": "m.typing", "content": {"n": 9}}
    await until(lambda: sender._peers == {})


async def test_edus_are_not_kept_for_who_does_not_answer(setting: Setting) -> None:
    sender = await setting.sender()
    setting.network.answers["a.test"] = [failure("a.test")]
    sender.queue_edu(["a.test"], "m.typing", {"n": 1})
    await until_async(setting.failing)
    sender.queue_edu(["a.test"], "m.typing", {"n": 2})
    assert not sender._peers["a.test"].edus


async def test_an_error_of_our_own_is_tried_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sender = await setting.sender()
    room_id = await setting.services.room(BOB)
    await setting.say(room_id, ["one"], "a.test")

    async def broken(*_: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "oldest", broken)
        sender.wake(["a.test"])
        await until_async(setting.failing)
    assert "a mistake" in caplog.text
    setting.services.clock.now += 60_000
    sender.heard_from("a.test")
    await until_async(lambda: is_empty(setting))
