"""Invites by third-party identifier: exchanged for users of other servers, and asked for when one of ours binds an identifier."""

from typing import Any

import pytest
from nacl.signing import SigningKey as NaclKey
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from homeserver.core.signing import sign_json
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.invites import exchange_third_party_invite
from homeserver.services.timeline import Draft
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer

VERSIONS = pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
IDENTITY_KEY = generate_signing_key("0")
IDENTITY_SERVER = "identity.test"


def public_key(key: NaclKey) -> str:
    """As an identity server writes it."""
    return encode_base64(key.verify_key.encode())


def offer() -> dict[str, Any]:
    """The content of m.room.third_party_invite."""
    key = public_key(IDENTITY_KEY)
    return {
        "display_name": "b...@example.org",
        "public_key": key,
        "key_validity_url": f"https://{IDENTITY_SERVER}/_matrix/identity/v2/pubkey/isvalid",
        "public_keys": [{"public_key": key}],
    }


def signed(user_id: str, key: Any = IDENTITY_KEY, token: str = "token") -> dict[str, Any]:
    """What the identity server vouches for."""
    claim = {"mxid": user_id, "token": token, "sender": "@said:identity.test"}
    return sign_json(claim, IDENTITY_SERVER, key)


async def room_with_offer(ours: FederatingServer, version: str = "10") -> str:
    """A room of ours with a third-party invite."""
    room_id = await ours.room(version, join_rules={"join_rule": "invite"})
    await ours.timeline.send(room_id, Draft(ours.user("ours"), "m.room.third_party_invite", offer(), "token"))
    return room_id


def partial(room_id: str, sender: str, user_id: str, proof: dict[str, Any]) -> dict[str, Any]:
    """The body of an exchange."""
    invite = {"display_name": "whatever", "signed": proof}
    return {
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": user_id,
        "content": {"membership": "invite", "third_party_invite": invite},
    }


@VERSIONS
async def test_an_invite_is_exchanged(ours: FederatingServer, peer: FederationPeer, version: str) -> None:
    room_id, bob = await room_with_offer(ours, version), peer.user("bob")
    body = partial(room_id, ours.user("ours"), bob, signed(bob))
    await exchange_third_party_invite(peer.client, ours.server_name, room_id, body)
    (asked,) = peer.asked_for("invite")
    assert asked.body["event"]["content"]["third_party_invite"] == {
        "display_name": "b...@example.org",
        "signed": signed(bob),
    }
    invite = await ours.state(room_id, "m.room.member", bob)
    assert invite is not None and set(invite.signatures) == {ours.server_name, peer.server_name}
    await peer.join(ours.server_name, room_id, bob, version)
    assert bob in await ours.members(room_id)


async def test_exchanges_that_are_refused(ours: FederatingServer, peer: FederationPeer) -> None:
    room_id, bob, host = await room_with_offer(ours), peer.user("bob"), ours.user("ours")
    good = partial(room_id, host, bob, signed(bob))
    content = good["content"]
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "another type": (good | {"type": "m.room.topic"}, "M_INVALID_PARAM"),
        "another room": (good | {"room_id": "!other:elsewhere.test"}, "M_INVALID_PARAM"),
        "another membership": (good | {"content": content | {"membership": "join"}}, "M_INVALID_PARAM"),
        "nothing signed": (good | {"content": {"membership": "invite"}}, "M_INVALID_PARAM"),
        "a user of ours": (partial(room_id, host, ours.user("carol"), signed(bob)), "M_INVALID_PARAM"),
        "a sender of theirs": (partial(room_id, peer.user("alice"), bob, signed(bob)), "M_INVALID_PARAM"),
        "another user's proof": (partial(room_id, host, bob, signed(peer.user("eve"))), "M_FORBIDDEN"),
        "another key": (
            partial(room_id, host, bob, signed(bob, generate_signing_key("1"))),
            "M_FORBIDDEN",
        ),
        "an unknown token": (
            partial(room_id, host, bob, signed(bob, token="x")),
            "M_THREEPID_NOT_FOUND",
        ),
    }
    for what, (body, errcode) in wrong.items():
        with pytest.raises(FederationError) as caught:
            await exchange_third_party_invite(peer.client, ours.server_name, room_id, body)
        assert caught.value.errcode == errcode, what
    assert peer.asked_for("invite") == []
    with pytest.raises(FederationError) as caught:
        other = "!" + "A" * 43
        body = good | {"room_id": other}
        await exchange_third_party_invite(peer.client, ours.server_name, other, body)
    assert caught.value.status == 404


async def on_bind(ours: FederatingServer, peer: FederationPeer, user_id: str, *invites: Any) -> None:
    """What an identity server tells."""
    body = {"medium": "email", "address": "bob@example.org", "mxid": user_id, "invites": list(invites)}
    path = "/_matrix/federation/v1/3pid/onbind"
    assert await peer.client.request(ours.server_name, "PUT", path, body=body) == {}


def waiting(room_id: str, sender: str, user_id: str, mxid: str | None = None) -> dict[str, Any]:
    """An invite that waited."""
    proof = signed(mxid or user_id)
    return {
        "medium": "email",
        "address": "bob@example.org",
        "mxid": mxid or user_id,
        "room_id": room_id,
        "sender": sender,
        "signed": proof,
    }


async def test_a_user_of_ours_gets_the_invites_that_waited(
    ours: FederatingServer, peer: FederationPeer
) -> None:
    room, bob = peer.room(join_rules={"join_rule": "invite"}), await ours.account("bob")
    alice = peer.user("alice")
    room.add("m.room.third_party_invite", alice, offer(), "token")
    own_room = await room_with_offer(ours)

    async def exchange(asked: Any) -> dict[str, Any]:
        await peer.invite(ours.server_name, room, bob, **asked.body["content"])
        return {}

    peer.answers["exchange_third_party_invite"] = exchange
    await on_bind(
        ours,
        peer,
        bob,
        waiting(room.room_id, alice, bob),
        waiting(own_room, ours.user("ours"), bob),
        waiting(own_room, ours.user("ours"), bob, mxid=ours.user("carol")),
        waiting("!gone:127.87.0.0:1", "@eve:127.87.0.0:1", bob),
    )
    (asked,) = peer.asked_for("exchange_third_party_invite")
    assert asked.path == [room.room_id] and asked.body["sender"] == alice
    assert asked.body["content"]["third_party_invite"]["signed"] == signed(bob)
    assert set((await ours.sync(bob))["rooms"]["invite"]) == {room.room_id, own_room}
    await ours.membership.join(bob, room.room_id)
    assert bob in await ours.members(room.room_id)


async def test_identifiers_of_nobody_here(ours: FederatingServer, peer: FederationPeer) -> None:
    for user_id in (ours.user("nobody"), peer.user("alice")):
        with pytest.raises(FederationError) as caught:
            await on_bind(ours, peer, user_id)
        assert (caught.value.status, caught.value.errcode) == (400, "M_INVALID_PARAM")
