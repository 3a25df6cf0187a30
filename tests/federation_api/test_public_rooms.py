"""Our room directory, as other servers read it."""

import pytest

from homeserver.federation.errors import FederationError
from homeserver.federation.remote.rooms import public_rooms
from homeserver.services.timeline import Draft
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer

PATH = "/_matrix/federation/v1/publicRooms"


async def published(ours: FederatingServer, name: str) -> str:
    """A room in the directory."""
    alice = ours.user("alice")
    joined = Draft(alice, "m.room.member", {"membership": "join"}, alice)
    named = Draft(alice, "m.room.name", {"name": name}, "")

    async def publish(tx: Transaction, room: rooms.Room) -> None:
        await rooms.set_published(tx, room.room_nid, True)

    return await ours.timeline.create_room("11", alice, {}, [joined, named], beside=publish)


async def test_a_page_of_the_directory(ours: FederatingServer, peer: FederationPeer) -> None:
    made = {await published(ours, name) for name in ("one", "two", "three")}
    seen = set()
    since: str | None = None
    while True:
        page = await public_rooms(peer.client, ours.server_name, limit=2, since=since)
        assert len(page.chunk) <= 2 and page.total_room_count_estimate == 3
        seen |= {entry["room_id"] for entry in page.chunk}
        since = page.next_batch
        if since is None:
            break
    assert seen == made
    everything = await peer.client.request(ours.server_name, "GET", PATH, query=[("limit", "0")])
    assert {entry["room_id"] for entry in everything["chunk"]} == made


async def test_a_search(ours: FederatingServer, peer: FederationPeer) -> None:
    wanted = await published(ours, "Gardening")
    await published(ours, "Cooking")
    body = {"filter": {"generic_search_term": "garden"}}
    answer = await peer.client.request(ours.server_name, "POST", PATH, body=body)
    assert [entry["room_id"] for entry in answer["chunk"]] == [wanted]
    assert answer["chunk"][0]["name"] == "Gardening" and answer["chunk"][0]["num_joined_members"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"limit": -1},
        {"limit": "many"},
        {"filter": []},
        {"since": "nonsense"},
        {"filter": {"room_types": "x"}},
    ],
)
async def test_searches_that_cannot_be(
    ours: FederatingServer, peer: FederationPeer, body: dict[str, object]
) -> None:
    with pytest.raises(FederationError) as caught:
        await peer.client.request(ours.server_name, "POST", PATH, body=body)
    assert caught.value.status == 400


async def test_rooms_of_other_networks_are_refused_clearly(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    await published(ours, "one")
    body = {"third_party_instance_id": "irc|example"}
    for method, options in (("GET", {"query": body}), ("POST", {"body": body})):
        with pytest.raises(FederationError) as caught:
            await peer.client.request(ours.server_name, method, PATH, **options)
        assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
        assert "bridges no third-party network 'irc|example'" in caught.value.reason
    everything = await peer.client.request(
        ours.server_name, "POST", PATH, body={"include_all_networks": True}
    )
    assert len(everything["chunk"]) == 1
