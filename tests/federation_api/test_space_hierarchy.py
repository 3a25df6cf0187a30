"""Spaces and summaries of rooms, told to other servers and asked of them."""

from typing import Any

import pytest

from homeserver.federation.errors import FederationError
from homeserver.federation.remote.rooms import get_hierarchy
from homeserver.services.space_hierarchy import HierarchyRequest
from homeserver.services.timeline import Draft
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer, error


async def space(ours: FederatingServer, children: dict[str, dict[str, Any]]) -> str:
    """A public space of @ours."""
    creator = ours.user("ours")
    drafts = [
        Draft(creator, "m.room.member", {"membership": "join"}, creator),
        Draft(creator, "m.room.join_rules", {"join_rule": "public"}, ""),
        *(Draft(creator, "m.space.child", content, room_id) for room_id, content in children.items()),
    ]
    return await ours.timeline.create_room("12", creator, {"type": "m.space"}, drafts)


async def test_what_another_server_is_told(ours: FederatingServer, peer: FederationPeer) -> None:
    via = {"via": [ours.server_name]}
    public, secret = await ours.room(), await ours.room(join_rules={"join_rule": "invite"})
    conditions = [{"type": "m.room_membership", "room_id": "!elsewhere:x.test"}]
    restricted = await ours.room(join_rules={"join_rule": "restricted", "allow": conditions})
    denied = await ours.room(server_acl={"allow": []})
    named = {
        public: {**via, "suggested": True},
        secret: via,
        restricted: via,
        denied: via,
        "!elsewhere:x.test": via,
    }
    room_id = await space(ours, named)
    answer = await get_hierarchy(peer.client, ours.server_name, room_id)
    assert answer.room["room_type"] == "m.space" and answer.room["room_version"] == "12"
    assert {event["state_key"] for event in answer.room["children_state"]} == set(named)
    assert [room["room_id"] for room in answer.children] == [public]
    # Of the restricted room we cannot tell: we do not know who is in the other one.
    assert set(answer.inaccessible_children) == {secret, denied}
    suggested = await get_hierarchy(peer.client, ours.server_name, room_id, suggested_only=True)
    assert [event["state_key"] for event in suggested.room["children_state"]] == [public]
    assert not suggested.inaccessible_children


async def test_rooms_that_a_server_could_not_join(ours: FederatingServer, peer: FederationPeer) -> None:
    secret = await ours.room(join_rules={"join_rule": "invite"})
    for room_id in (secret, "!nowhere:x.test", await ours.room(server_acl={"allow": []})):
        with pytest.raises(FederationError) as caught:
            await get_hierarchy(peer.client, ours.server_name, room_id)
        assert (caught.value.status, caught.value.errcode) == (404, "M_NOT_FOUND")


class Tree:
    """Rooms that the peer tells of."""

    def __init__(self, peer: FederationPeer) -> None:
        self.peer = peer
        self.told: dict[str, dict[str, Any]] = {}
        peer.answers["hierarchy"] = lambda asked: (
            self.told.get(asked.path[0]) or error(404, "M_NOT_FOUND", "no")
        )

    def summary(self, room_id: str, **more: Any) -> dict[str, Any]:
        return {
            "room_id": room_id,
            "num_joined_members": 3,
            "world_readable": False,
            "guest_can_join": False,
            "join_rule": "public",
            **more,
        }

    def space(self, room_id: str, children: list[str], summaries: list[Any], inaccessible: list[str]) -> None:
        stripped = [
            {
                "type": "m.space.child",
                "state_key": child,
                "content": {"via": [self.peer.server_name]},
                "sender": self.peer.user("alice"),
                "origin_server_ts": number,
            }
            for number, child in enumerate(children)
        ]
        room = self.summary(room_id, room_type="m.space", children_state=stripped)
        self.told[room_id] = {"room": room, "children": summaries, "inaccessible_children": inaccessible}


async def walk(ours: FederatingServer, room_id: str, **options: Any) -> list[str]:
    answer = await ours.spaces.page(ours.user("bob"), room_id, HierarchyRequest(**options))
    return [room["room_id"] for room in answer["rooms"]]


async def test_children_on_other_servers(ours: FederatingServer, peer: FederationPeer) -> None:
    tree = Tree(peer)
    inner, leaf, secret, hidden, foreign = (f"!{name}:{peer.server_name}" for name in "abcde")
    restricted = tree.summary(hidden, join_rule="restricted", allowed_room_ids=["!other:x.test"])
    summaries = [tree.summary(leaf), restricted, tree.summary(foreign), "nonsense"]
    tree.space(inner, [leaf, secret, hidden], summaries, [secret])
    room_id = await space(ours, {inner: {"via": ["127.0.0.1:1", peer.server_name]}})
    assert await walk(ours, room_id) == [room_id, inner, leaf]
    assert await walk(ours, room_id, max_depth=1) == [room_id, inner]
    # The answer is kept, what was told needs no question, and nobody asks for what cannot be had.
    assert [asked.path[0] for asked in peer.asked_for("hierarchy")] == [inner]
    assert peer.asked_for("hierarchy")[0].query == {"suggested_only": ["false"]}


async def test_conditions_of_rooms_elsewhere(ours: FederatingServer, peer: FederationPeer) -> None:
    tree = Tree(peer)
    inner, hidden = f"!inner:{peer.server_name}", f"!hidden:{peer.server_name}"
    room_id = await space(ours, {inner: {"via": [peer.server_name]}})
    tree.space(
        inner, [hidden], [tree.summary(hidden, join_rule="restricted", allowed_room_ids=[room_id])], []
    )
    assert await walk(ours, room_id) == [room_id, inner]
    await ours.membership.join(ours.user("bob"), room_id)
    assert await walk(ours, room_id) == [room_id, inner, hidden]


@pytest.mark.parametrize(
    "wrong", [{"num_joined_members": "3"}, {"room_id": "!other:x.test"}, {"children_state": 1}, {"name": 7}]
)
async def test_answers_that_are_wrong(
    ours: FederatingServer, peer: FederationPeer, wrong: dict[str, Any]
) -> None:
    tree = Tree(peer)
    inner = f"!inner:{peer.server_name}"
    tree.space(inner, [], [], [])
    tree.told[inner]["room"].update(wrong)
    room_id = await space(ours, {inner: {"via": [peer.server_name]}})
    assert await walk(ours, room_id) == [room_id]
    assert await walk(ours, room_id) == [room_id]
    assert len(peer.asked_for("hierarchy")) == 1  # a failure is kept too


async def test_a_summary_of_a_room_elsewhere(ours: FederatingServer, peer: FederationPeer) -> None:
    tree = Tree(peer)
    room_id, bob = f"!room:{peer.server_name}", ours.user("bob")
    wrong = {
        "avatar_url": "http://x",
        "encryption": "m.megolm.v1.aes-sha2",
        "secret": 1,
        "children_state": [],
    }
    tree.told[room_id] = {"room": tree.summary(room_id, name="There", **wrong), "children": []}
    found = await ours.summaries.find(bob, room_id, [peer.server_name])
    assert found is not None and found.membership is None
    assert found.summary.entry == tree.summary(room_id, name="There", encryption="m.megolm.v1.aes-sha2")
    assert await ours.summaries.find(None, room_id, [peer.server_name]) is None  # only for users of ours


async def test_an_invite_lets_the_user_know(ours: FederatingServer, peer: FederationPeer) -> None:
    tree = Tree(peer)
    room = peer.room("10", join_rules={"join_rule": "invite"})
    summary = tree.summary(room.room_id, join_rule="invite", children_state=[])
    tree.told[room.room_id] = {"room": summary, "children": [], "inaccessible_children": []}
    bob = await ours.account("bob")
    assert await ours.summaries.find(bob, room.room_id) is None
    await peer.invite(ours.server_name, room, bob)
    found = await ours.summaries.find(bob, room.room_id)
    assert found is not None and found.membership == "invite"
    assert await walk(ours, room.room_id) == [room.room_id]
