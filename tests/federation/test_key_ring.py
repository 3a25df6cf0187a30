"""The key ring: where keys come from, how long they hold, and which signatures they make good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiohttp import web
from signedjson.key import generate_signing_key

from homeserver.core.errors import MatrixError
from homeserver.core.events import Event, redact
from homeserver.core.signing import sign_event_as, sign_json
from homeserver.federation.authentication import authorization_header
from homeserver.federation.inbound import RequestAuthenticator
from homeserver.federation.key_responses import StoredKeys, TrustedKeyServer, parse_server_keys
from homeserver.federation.key_ring import KeyRing, KeyUnavailable
from homeserver.federation.own_keys import OldVerifyKey, OwnKeys, server_keys, sign_as_notary
from tests.federation.keys import (
    DAY,
    KEY_PATH,
    NOW,
    QUERY_PATH,
    MemoryStore,
    event_by,
    key_server,
    keys_of,
    notary_server,
    ring_of,
)
from tests.federation.world import World

HOUR = 3_600_000


async def refusal(ring: KeyRing, name: str, key_id: str = "ed25519:1", until: int = NOW) -> str:
    """Why a key is not available."""
    with pytest.raises(KeyUnavailable) as caught:
        await ring.key(name, key_id, until)
    return caught.value.reason


async def test_a_key_is_fetched_once_and_stored(world: World) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    store = MemoryStore()
    ring = ring_of(world, store)
    key = await ring.key("a.example", "ed25519:1", NOW)
    assert key == own.signing_key.verify_key
    assert await ring.key("a.example", "ed25519:1", NOW + HOUR) == key
    assert [seen.target for seen in peer.seen] == [KEY_PATH]
    assert peer.seen[0].authorization == ()
    await ring.close()
    assert store.stored["a.example"].keys[0].verify_key == key.encode()
    assert store.loads == 1

    another = ring_of(world, store)
    assert await another.key("a.example", "ed25519:1", NOW) == key
    assert len(peer.seen) == 1, "the store knows it"


async def test_a_key_near_its_end_is_fetched_again(world: World) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    ring = ring_of(world)
    await ring.key("a.example", "ed25519:1", NOW)
    world.now += 2 * 86400
    peer.answer("GET", KEY_PATH, server_keys(own, int(world.now * 1000)))
    await ring.key("a.example", "ed25519:1", NOW + 2 * DAY)
    assert len(peer.seen) == 2


async def test_concurrent_fetches_are_one(world: World) -> None:
    peer = await key_server(world, keys_of("a.example"), 1)
    ring = ring_of(world)
    await asyncio.gather(*(ring.key("a.example", "ed25519:1", NOW) for _ in range(20)))
    assert len(peer.seen) == 1


async def test_a_cancelled_waiter_does_not_stop_the_fetch_of_others(world: World) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await release.wait()
        return web.json_response(server_keys(own, NOW))

    peer.handle("GET", KEY_PATH, slow)
    ring = ring_of(world)
    first = asyncio.create_task(ring.key("a.example", "ed25519:1", NOW))
    await asked.wait()
    second = asyncio.create_task(ring.key("a.example", "ed25519:1", NOW))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    release.set()
    assert await second == own.signing_key.verify_key
    assert len(peer.seen) == 1


async def test_a_slow_server_does_not_delay_the_keys_of_another(world: World) -> None:
    slow_peer = await key_server(world, keys_of("slow.example"), 1)
    await key_server(world, keys_of("quick.example"), 2)
    asked = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    slow_peer.handle("GET", KEY_PATH, never)
    ring = ring_of(world)
    wanted = {name: {"ed25519:1": NOW} for name in ("slow.example", "quick.example")}
    both = asyncio.create_task(ring.ensure(wanted))
    await asked.wait()
    await ring.key("quick.example", "ed25519:1", NOW)
    assert not both.done()
    both.cancel()
    await ring.close()


async def test_failures_are_backed_off_with_their_reason(world: World) -> None:
    peer = await key_server(world, keys_of("a.example"), 1)
    peer.answer("GET", KEY_PATH, {"errcode": "M_UNKNOWN", "error": "on fire"}, 500)
    ring = ring_of(world)
    for expected in (1, 1):
        assert "on fire" in await refusal(ring, "a.example")
        assert len(peer.seen) == expected
    waits = []
    for _ in range(8):
        before = len(peer.seen)
        start = world.now
        while len(peer.seen) == before:
            world.now += 30
            await refusal(ring, "a.example")
        waits.append(round(world.now - start))
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert "on fire" in (ring.failure("a.example") or "")
    peer.answer("GET", KEY_PATH, server_keys(keys_of("a.example"), int(world.now * 1000)))
    world.now += 3601
    await ring.key("a.example", "ed25519:1", int(world.now * 1000) - DAY)
    assert ring.failure("a.example") is None


async def test_unknown_key_ids_do_not_flood_a_server_nor_hide_its_new_key_for_long(world: World) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    ring = ring_of(world)
    for number in range(20):
        assert "it is not known" in await refusal(ring, "a.example", f"ed25519:made_up_{number}")
    assert len(peer.seen) == 1
    assert await ring.key("a.example", "ed25519:1", NOW) == own.signing_key.verify_key
    new = keys_of("a.example", "2")
    peer.answer("GET", KEY_PATH, server_keys(new, NOW))
    world.now += 61
    assert await ring.key("a.example", "ed25519:2", NOW) == new.signing_key.verify_key


async def test_only_ed25519(world: World) -> None:
    assert "only ed25519" in await refusal(ring_of(world), "a.example", "rsa:1")


@pytest.mark.parametrize("kind", ["another server's", "forged", "not JSON"])
async def test_bad_responses_are_refused(world: World, kind: str) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    responses = {
        "another server's": server_keys(keys_of("b.example"), NOW),
        "forged": {**server_keys(own, NOW), "valid_until_ts": NOW + 2},
        "not JSON": ["x"],
    }
    peer.answer("GET", KEY_PATH, responses[kind])
    assert await refusal(ring_of(world), "a.example")


async def test_an_expired_response_does_not_verify_requests(world: World) -> None:
    await key_server(world, keys_of("a.example"), 1, validity=-HOUR)
    reason = await refusal(ring_of(world), "a.example")
    assert "only known to be valid until" in reason


async def test_a_far_future_validity_is_not_believed(world: World) -> None:
    await key_server(world, keys_of("a.example"), 1, validity=1000 * DAY)
    ring = ring_of(world)
    await ring.key("a.example", "ed25519:1", NOW + 7 * DAY)
    await refusal(ring, "a.example", until=NOW + 7 * DAY + 1)


async def test_our_own_keys_are_never_fetched(world: World) -> None:
    ring = ring_of(world)
    assert await ring.key("ours.example", "ed25519:a_ours", NOW + 9999 * DAY) == world.signing_key.verify_key
    await refusal(ring, "ours.example", "ed25519:other")
    assert not world.dns.queries


def trusted(notary: OwnKeys) -> list[TrustedKeyServer]:
    return [TrustedKeyServer(notary.server_name, notary.verify_keys)]


async def test_a_notary_knows_the_keys_of_a_dead_server(world: World) -> None:
    notary, own = keys_of("notary.example"), keys_of("dead.example")
    peer = await notary_server(world, notary, 1, server_keys(own, NOW))
    ring = ring_of(world, notaries=trusted(notary))
    assert await ring.key("dead.example", "ed25519:1", NOW) == own.signing_key.verify_key
    assert peer.seen[0].target == QUERY_PATH
    assert b'{"dead.example":{"ed25519:1":{"minimum_valid_until_ts":1700000000000}}}' in peer.seen[0].body
    assert peer.seen[0].authorization, "asking a notary is signed, as all else"


async def test_the_server_itself_is_asked_first(world: World) -> None:
    notary = keys_of("notary.example")
    own = keys_of("a.example")
    await key_server(world, own, 1)
    peer = await notary_server(world, notary, 2)
    await ring_of(world, notaries=trusted(notary)).key("a.example", "ed25519:1", NOW)
    assert not peer.seen


async def test_a_notary_that_lies_is_not_believed(world: World) -> None:
    notary, own = keys_of("notary.example"), keys_of("dead.example")
    await notary_server(world, keys_of("notary.example"), 1, server_keys(own, NOW))
    reason = await refusal(ring_of(world, notaries=trusted(notary)), "dead.example")
    assert "no valid signature of notary.example" in reason


async def test_the_next_notary_is_asked_when_one_fails(world: World) -> None:
    first, second, own = keys_of("first.example"), keys_of("second.example"), keys_of("dead.example")
    await notary_server(world, second, 2, server_keys(own, NOW))
    ring = ring_of(world, notaries=[*trusted(first), *trusted(second)])
    assert await ring.key("dead.example", "ed25519:1", NOW) == own.signing_key.verify_key


async def test_many_servers_are_asked_of_the_notary_at_once(world: World) -> None:
    notary = keys_of("notary.example")
    servers = [keys_of(f"s{number}.example") for number in range(40)]
    peer = await notary_server(world, notary, 1, *(server_keys(own, NOW) for own in servers[1:]))
    alive = await key_server(world, servers[0], 2)
    ring = ring_of(world, notaries=trusted(notary))
    results = await ring.verify_events([event_by(own) for own in servers])
    assert set(results.values()) == {None}
    assert len(peer.seen) == 1
    assert len(alive.seen) == 1


async def test_keys_for_answering_as_a_notary(world: World) -> None:
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    ring = ring_of(world)
    stored = await ring.stored_keys("a.example", NOW)
    assert stored is not None
    assert parse_server_keys(server_keys(own, NOW), NOW) == stored
    assert await ring.stored_keys("a.example", NOW + 999 * DAY) == stored
    assert len(peer.seen) == 1, "whoever asks for an absurd time does not make us ask again at once"
    peer.answer("GET", KEY_PATH, {}, 500)
    world.now += 7200
    assert await ring.stored_keys("a.example", NOW + 999 * DAY) == stored, "the last response is kept"
    assert len(peer.seen) == 2
    assert await ring.stored_keys("dead.example", NOW) is None


async def test_a_store_that_fails_costs_only_memory(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryStore):
        async def save(self, keys: Sequence[StoredKeys]) -> None:
            raise OSError("disk full")

    own = keys_of("a.example")
    await key_server(world, own, 1)
    ring = ring_of(world, Broken())
    assert await ring.key("a.example", "ed25519:1", NOW) == own.signing_key.verify_key
    await ring.close()
    assert "could not be stored" in caplog.text


async def verdict(ring: KeyRing, event: Event) -> str | None:
    return (await ring.verify_events([event]))[event.event_id]


async def test_events_are_verified(world: World) -> None:
    a, b = keys_of("a.example"), keys_of("b.example")
    await key_server(world, a, 1)
    await key_server(world, b, 2)
    ring = ring_of(world)
    impostor = OwnKeys("b.example", [generate_signing_key("1")])
    good = [event_by(own, depth=depth) for depth in range(1, 15) for own in (a, b)]
    bad = event_by(impostor, depth=99)
    results = await ring.verify_events([*good, bad])
    assert results == {event.event_id: None for event in good} | {
        bad.event_id: "the signature of b.example with ed25519:1 is wrong"
    }
    assert await verdict(ring, redact(good[0])) is None


async def test_an_event_without_the_signature_of_its_server(world: World) -> None:
    await key_server(world, keys_of("a.example"), 1)
    event = event_by(keys_of("b.example"), sender="@u:a.example")
    assert await verdict(ring_of(world), event) == "there is no signature of a.example"


async def test_unknown_keys_are_skipped_if_another_holds(world: World) -> None:
    own = keys_of("a.example")
    await key_server(world, own, 1)
    event = sign_event_as(event_by(own), "a.example", generate_signing_key("unknown"))
    assert await verdict(ring_of(world), event) is None


async def test_room_versions_1_and_2_need_the_server_of_the_event_id_too(world: World) -> None:
    a, b = keys_of("a.example"), keys_of("b.example")
    await key_server(world, a, 1)
    await key_server(world, b, 2)
    ring = ring_of(world)
    event = event_by(a, "1", event_id="$1:b.example")
    assert await verdict(ring, event) == "there is no signature of b.example"
    assert await verdict(ring, sign_event_as(event, "b.example", b.signing_key)) is None


async def test_a_restricted_join_needs_the_authorising_server(world: World) -> None:
    a, b = keys_of("a.example"), keys_of("b.example")
    await key_server(world, a, 1)
    await key_server(world, b, 2)
    ring = ring_of(world)
    join = event_by(
        a,
        "9",
        type="m.room.member",
        state_key="@u:a.example",
        content={"membership": "join", "join_authorised_via_users_server": "@admin:b.example"},
    )
    assert await verdict(ring, join) == "there is no signature of b.example"
    assert await verdict(ring, sign_event_as(join, "b.example", b.signing_key)) is None


@pytest.mark.parametrize(("version", "holds"), [("4", True), ("5", False), ("10", False)])
async def test_key_validity_at_the_time_of_the_event(world: World, version: str, holds: bool) -> None:
    """From room version 5 on a key must be known to have been valid when the event was made."""
    own = keys_of("a.example")
    await key_server(world, own, 1, validity=-DAY)
    ring = ring_of(world)
    assert await verdict(ring, event_by(own, version, ts=NOW - 2 * DAY)) is None
    late = await verdict(ring, event_by(own, version, ts=NOW))
    assert (late is None) is holds
    if not holds:
        assert "only known to be valid until" in (late or "")


@pytest.mark.parametrize("version", ["4", "10"])
async def test_old_keys_verify_what_was_made_before_they_expired(world: World, version: str) -> None:
    retired = generate_signing_key("old")
    own = keys_of("a.example", "1", {"ed25519:old": OldVerifyKey(retired.verify_key, NOW - DAY)})
    peer = await key_server(world, own, 1)
    ring = ring_of(world)
    assert await verdict(ring, event_by(own, version, key=retired, ts=NOW - 2 * DAY)) is None
    late = await verdict(ring, event_by(own, version, key=retired, ts=NOW))
    assert "expired" in (late or "")
    assert len(peer.seen) == 1, "an old key does not become valid by asking again"


async def test_our_own_events_are_verified_without_asking(world: World) -> None:
    own = OwnKeys("ours.example", [world.signing_key])
    assert await verdict(ring_of(world), event_by(own, ts=NOW + 1000 * DAY)) is None


async def test_any_json(world: World) -> None:
    own = keys_of("a.example")
    await key_server(world, own, 1)
    ring = ring_of(world)
    signed = sign_json({"hello": "world"}, "a.example", own.signing_key)
    assert await ring.verify_json(signed, "a.example", NOW) is None
    assert "is wrong" in (await ring.verify_json({**signed, "hello": "you"}, "a.example", NOW) or "")
    assert "no signature" in (await ring.verify_json({"hello": "world"}, "a.example", NOW) or "")


URI = "/_matrix/federation/v1/send/1"


async def authenticate(world: World, ring: KeyRing, headers: list[str], **options: object) -> str:
    authenticator = RequestAuthenticator(
        "ours.example",
        ring,
        options.get("whitelist"),  # type: ignore[arg-type]
        clock=lambda: int(world.now * 1000),
    )
    return await authenticator.authenticate("PUT", URI, headers, {})


async def test_requests_are_authenticated(world: World) -> None:
    retired = generate_signing_key("old")
    own = keys_of("a.example", "1", {"ed25519:old": OldVerifyKey(retired.verify_key, NOW + DAY)})
    await key_server(world, own, 1)
    ring = ring_of(world)

    def header(key: object = own.signing_key, destination: str = "ours.example", uri: str = URI) -> str:
        return authorization_header("PUT", uri, "a.example", destination, b"{}", key)  # type: ignore[arg-type]

    assert await authenticate(world, ring, [header()]) == "a.example"
    unknown = header(generate_signing_key("unknown"))
    assert await authenticate(world, ring, [unknown, header()]) == "a.example"
    for headers, reason in (
        ([], "no Authorization header"),
        (["Bearer x"], "scheme X-Matrix"),
        ([header(uri="/other")], "does not fit the request"),
        ([header(destination="other.example")], "signed for 'other.example'"),
        ([header(retired)], "only valid for events"),
        ([unknown], "not available"),
    ):
        with pytest.raises(MatrixError, match=reason) as caught:
            await authenticate(world, ring, headers)
        assert (caught.value.status, caught.value.errcode) == (401, "M_UNAUTHORIZED")


async def test_servers_outside_of_the_whitelist_are_refused_without_asking_for_keys(world: World) -> None:
    header = authorization_header("PUT", URI, "a.example", "ours.example", b"{}", generate_signing_key("1"))
    with pytest.raises(MatrixError) as caught:
        await authenticate(world, ring_of(world), [header], whitelist=frozenset({"b.example"}))
    assert caught.value.status == 403
    assert not world.dns.queries


async def test_a_notary_signature_is_beside_the_servers_own() -> None:
    own, notary = keys_of("a.example"), keys_of("notary.example")
    signed = sign_as_notary(server_keys(own, NOW), notary)
    assert set(signed["signatures"]) == {"a.example", "notary.example"}


async def test_two_keys_of_one_server_wanted_at_once(world: World) -> None:
    """The second caller waits for the first one's fetch, and asks again only for what that did not bring."""
    own = keys_of("a.example")
    peer = await key_server(world, own, 1)
    ring = ring_of(world)
    first, second, unknown = await asyncio.gather(
        ring.key("a.example", "ed25519:1", NOW),
        ring.key("a.example", "ed25519:1", NOW + HOUR),
        refusal(ring, "a.example", "ed25519:2"),
    )
    assert first == second == own.signing_key.verify_key
    assert "it is not known" in unknown
    assert len(peer.seen) == 2


async def test_the_cache_is_bounded_and_the_store_is_not(world: World) -> None:
    servers = [keys_of(f"s{number}.example") for number in range(3)]
    peers = [await key_server(world, own, number + 1) for number, own in enumerate(servers)]
    store = MemoryStore()
    ring = KeyRing(
        world.client(), store, OwnKeys("ours.example", [world.signing_key]), clock=lambda: NOW, capacity=1
    )
    for _ in range(2):
        for own in servers:
            await ring.key(own.server_name, "ed25519:1", NOW)
    assert [len(peer.seen) for peer in peers] == [1, 1, 1]
    assert store.loads == 6
    for number in range(3):
        await refusal(ring, f"dead{number}.example")
    assert ring.failure("dead0.example") is None
    assert ring.failure("dead2.example") is not None


async def test_json_signed_with_an_unknown_key(world: World) -> None:
    await key_server(world, keys_of("a.example"), 1)
    signed = sign_json({}, "a.example", generate_signing_key("unknown"))
    assert "not available" in (await ring_of(world).verify_json(signed, "a.example", NOW) or "")


async def test_a_notary_that_answers_nonsense(world: World) -> None:
    notary = keys_of("notary.example")
    peer = await notary_server(world, notary, 1)
    peer.answer("POST", QUERY_PATH, {"server_keys": "none"})
    reason = await refusal(ring_of(world, notaries=trusted(notary)), "dead.example")
    assert "notary.example: the answer has no list" in reason


async def test_a_join_authorised_by_nobody(world: World) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "nobody"}
    join = event_by(
        keys_of("a.example"), "9", type="m.room.member", state_key="@u:a.example", content=content
    )
    assert "not a user ID" in (await verdict(ring_of(world), join) or "")
    assert not world.dns.queries
