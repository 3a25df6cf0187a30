"""Keys, the notary, queries, version."""

import json
from typing import Any

import pytest

from homeserver.core.signing import verify_json
from homeserver.federation import key_ring
from homeserver.federation.errors import FederationError
from homeserver.federation.own_keys import OwnKeys, server_keys
from homeserver.federation.remote.queries import get_version, query_directory, query_profile
from homeserver.services.clock import now_ms
from homeserver.services.remote_directory import RemoteDirectory
from tests.support.certificates import Authority
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer

HOUR = 3_600_000


async def unsigned(
    peer: FederationPeer, ours: FederatingServer, method: str, path: str, body: Any = None
) -> Any:
    """A request without a signature."""
    return await peer.client.request(ours.server_name, method, path, body=body, signed=False)


def signed_by(answer: Any, name: str, key: Any) -> bool:
    """Whether an answer bears a valid signature."""
    key_id = f"{key.alg}:{key.version}"
    return verify_json(answer, name, key_id, key.verify_key)


async def test_our_keys(ours: FederatingServer, peer: FederationPeer) -> None:
    answer = await unsigned(peer, ours, "GET", "/_matrix/key/v2/server")
    assert answer["server_name"] == ours.server_name and list(answer["verify_keys"]) == ["ed25519:ours"]
    assert answer["valid_until_ts"] > now_ms() + HOUR
    assert signed_by(answer, ours.server_name, ours.signing_key)


async def test_the_notary_signs_what_the_server_signed(ours: FederatingServer, peer: FederationPeer) -> None:
    single = await unsigned(peer, ours, "GET", f"/_matrix/key/v2/query/{peer.server_name}")
    criteria = {
        peer.server_name: {"ed25519:peer": {"minimum_valid_until_ts": now_ms()}},
        ours.server_name: {},
    }
    several = await unsigned(peer, ours, "POST", "/_matrix/key/v2/query", {"server_keys": criteria})
    assert len(single["server_keys"]) == 1 and len(several["server_keys"]) == 2
    by_name = {keys["server_name"]: keys for keys in several["server_keys"]}
    assert set(by_name) == {peer.server_name, ours.server_name}
    for keys in (single["server_keys"][0], by_name[peer.server_name]):
        assert signed_by(keys, peer.server_name, peer.signing_key)
        assert signed_by(keys, ours.server_name, ours.signing_key)
    assert len(peer.asked_for("keys")) == 1


async def test_the_notary_asks_again_for_keys_that_are_not_valid_long_enough(
    ours: FederatingServer, peer: FederationPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_ring, "_PAUSE_AFTER_ANSWER", -1)
    name, path = peer.server_name, "/_matrix/key/v2/query"
    soon, late = now_ms() + HOUR, now_ms() + 48 * HOUR

    async def asked(valid_until: int | None, *, bulk: bool) -> int:
        criteria = {} if valid_until is None else {"minimum_valid_until_ts": valid_until}
        if bulk:
            body = {"server_keys": {name: {"ed25519:peer": criteria}}}
            answer = await unsigned(peer, ours, "POST", path, body)
        else:
            query = {key: str(value) for key, value in criteria.items()}
            answer = await peer.client.request(
                ours.server_name, "GET", f"{path}/{name}", query=query, signed=False
            )
        assert [keys["server_name"] for keys in answer["server_keys"]] == [name]
        return len(peer.asked_for("keys"))

    for bulk, first in ((False, 1), (True, 2)):
        assert await asked(None, bulk=bulk) == first
        assert await asked(soon, bulk=bulk) == first
        assert await asked(late, bulk=bulk) == first + 1


async def test_the_notary_remembers_servers_that_are_gone(
    ours: FederatingServer, peer: FederationPeer, authority: Authority
) -> None:
    path = f"/_matrix/key/v2/query/{peer.server_name}"
    await unsigned(peer, ours, "GET", path)
    await peer.stop()
    late = await peer.client.request(
        ours.server_name,
        "GET",
        path,
        query={"minimum_valid_until_ts": str(now_ms() + 48 * HOUR)},
        signed=False,
    )
    assert late["server_keys"][0]["server_name"] == peer.server_name
    unknown = await unsigned(peer, ours, "GET", "/_matrix/key/v2/query/127.87.0.0:1")
    assert unknown == {"server_keys": []}
    await peer.start()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"server_keys": []},
        {"server_keys": {"a": 1}},
        {"server_keys": {"a.test": {"ed25519:x": 1}, "?": {}}},
    ],
)
async def test_odd_key_queries(ours: FederatingServer, peer: FederationPeer, body: Any) -> None:
    try:
        answer = await unsigned(peer, ours, "POST", "/_matrix/key/v2/query", body)
    except FederationError as error:
        assert error.status == 400
    else:
        assert answer == {"server_keys": []}


async def test_keys_that_are_not_the_servers_own(ours: FederatingServer, peer: FederationPeer) -> None:
    forged = server_keys(OwnKeys("elsewhere.test", [peer.signing_key]), now_ms())
    peer.answers["keys"] = lambda _: json.loads(json.dumps(forged))
    with pytest.raises(FederationError) as caught:
        await peer.client.request(ours.server_name, "GET", "/_matrix/federation/v1/query/unheard_of")
    assert caught.value.status == 401 and "elsewhere.test" in caught.value.reason


async def test_the_version(ours: FederatingServer, peer: FederationPeer) -> None:
    version = await get_version(peer.client, ours.server_name)
    assert version.name == "homeserver" and version.version


async def test_aliases(ours: FederatingServer, peer: FederationPeer) -> None:
    alias = f"#lobby:{ours.server_name}"
    ours.aliases[alias] = "!lobby:x.test"
    target = await query_directory(peer.client, ours.server_name, alias)
    assert target.room_id == "!lobby:x.test" and target.servers == (ours.server_name,)
    for other, status in ((f"#none:{ours.server_name}", 404), ("#lobby:elsewhere.test", 400), ("lobby", 400)):
        with pytest.raises(FederationError) as caught:
            await query_directory(peer.client, ours.server_name, other)
        assert caught.value.status == status


async def test_profiles(ours: FederatingServer, peer: FederationPeer) -> None:
    bob = ours.user("bob")
    ours.profiles[bob] = {"displayname": "Bob", "m.tz": "Europe/Paris"}
    assert await query_profile(peer.client, ours.server_name, bob) == ours.profiles[bob]
    assert await query_profile(peer.client, ours.server_name, bob, "m.tz") == {"m.tz": "Europe/Paris"}
    for user, field, status in (
        (bob, "avatar_url", 404),
        (ours.user("nobody"), None, 404),
        ("@bob:elsewhere.test", None, 400),
    ):
        with pytest.raises(FederationError) as caught:
            await query_profile(peer.client, ours.server_name, user, field)
        assert caught.value.status == status


async def test_a_query_that_there_is_not(ours: FederatingServer, peer: FederationPeer) -> None:
    with pytest.raises(FederationError) as caught:
        await peer.client.request(ours.server_name, "GET", "/_matrix/federation/v1/query/weather")
    assert (caught.value.status, caught.value.errcode) == (404, "M_UNRECOGNIZED")


async def test_asking_for_aliases_of_others(ours: FederatingServer, peer: FederationPeer) -> None:
    directory = RemoteDirectory(ours.client)
    room = peer.room()
    alias = f"#room:{peer.server_name}"
    peer.aliases[alias] = room.room_id
    assert await directory.resolve(alias) == (room.room_id, [peer.server_name])
    with pytest.raises(Exception, match="does not know the room alias"):
        await directory.resolve(f"#none:{peer.server_name}")
    with pytest.raises(Exception, match="could not be asked"):
        await directory.resolve("#none:127.87.0.0:1")
