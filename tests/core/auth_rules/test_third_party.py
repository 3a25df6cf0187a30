"""Invites that redeem an m.room.third_party_invite."""

from __future__ import annotations

import time
from typing import Any

import pytest
from nacl.signing import SigningKey as NaclKey
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from homeserver.core.auth_rules import Refusal, authorise
from homeserver.core.auth_rules.refusal import rule_numbers
from homeserver.core.signing import sign_json
from tests.core.auth_rules.builder import ALICE, ALL, BOB, CAROL, DAVE, Room, busy_room

KEY, OTHER = generate_signing_key("0"), generate_signing_key("0")


def public(key: Any, *, urlsafe: bool = False) -> str:
    return encode_base64(key.verify_key.encode(), urlsafe=urlsafe)


def signed(key: Any = KEY, **changes: Any) -> dict[str, Any]:
    body = {"mxid": DAVE, "token": "token", **changes}
    return sign_json({name: value for name, value in body.items() if value is not None}, "id.example", key)


def offer(room: Room, **content: Any) -> None:
    room.send("m.room.third_party_invite", BOB, {"public_key": public(KEY), **content}, "token")


def redeemed(room: Room, invite: Any, *, sender: str = BOB) -> Refusal | None:
    event = room.membership(DAVE, "invite", sender=sender, third_party_invite=invite)
    return authorise(event, room.state)


def part(version: str, number: int) -> str:
    return f"v{version} {rule_numbers(Room(version).rules).invite}.1.{number}"


@pytest.mark.parametrize("version", ALL)
def test_redeemed(version: str) -> None:
    room = busy_room(version)
    offer(room)
    assert redeemed(room, {"display_name": "d", "signed": signed()}) is None
    # By any of the keys, in either alphabet; what is no key is passed over.
    rubbish = [5, {}, {"public_key": 5}, {"public_key": "!"}, {"public_key": "AAAA"}]
    for urlsafe in (False, True):
        offer(
            room,
            public_key=public(OTHER),
            public_keys=[*rubbish, {"public_key": public(KEY, urlsafe=urlsafe)}],
        )
        assert redeemed(room, {"signed": signed()}) is None


@pytest.mark.parametrize("version", ALL)
def test_sender_need_not_be_joined_any_more(version: str) -> None:
    room = busy_room(version)
    offer(room)
    room.member(BOB, "leave")
    assert redeemed(room, {"signed": signed()}) is None


@pytest.mark.parametrize("version", ALL)
def test_refused(version: str) -> None:
    room = busy_room(version)
    offer(room)
    forged = {**signed(), "mxid": DAVE, "extra": "added later"}
    cases: list[tuple[Any, int]] = [
        (None, 2),
        ("x", 2),
        ({}, 2),
        ({"signed": None}, 2),
        ({"signed": signed(mxid=None)}, 3),
        ({"signed": signed(token=None)}, 3),
        ({"signed": signed(token=["token"])}, 3),
        ({"signed": signed(mxid=CAROL)}, 4),
        ({"signed": signed(token="another")}, 5),
        ({"signed": signed(OTHER)}, 8),
        ({"signed": forged}, 8),
        ({"signed": {"mxid": DAVE, "token": "token"}}, 8),
        ({"signed": {"mxid": DAVE, "token": "token", "signatures": {"id.example": {"ed25519:0": "!"}}}}, 8),
        ({"signed": {"mxid": DAVE, "token": "token", "signatures": ["id.example"]}}, 8),
    ]
    for invite, number in cases:
        refusal = redeemed(room, invite)
        assert refusal is not None
        assert refusal.rule == part(version, number), invite
    refusal = redeemed(room, {"signed": signed()}, sender=ALICE)
    assert refusal is not None
    assert refusal.rule == part(version, 6)
    room.member(DAVE, "ban", sender=ALICE)
    refusal = redeemed(room, {"signed": signed()})
    assert refusal is not None
    assert refusal.rule == part(version, 1)


def test_many_keys_and_signatures_do_not_hold_us_up() -> None:
    room = busy_room("11")
    keys = [
        {"public_key": encode_base64(NaclKey(number.to_bytes(32)).verify_key.encode())}
        for number in range(500)
    ]
    offer(room, public_key="", public_keys=keys)
    signature = next(iter(signed()["signatures"]["id.example"].values()))
    signatures = {"id.example": {f"ed25519:{number}": signature for number in range(300)}}
    started = time.monotonic()
    assert redeemed(room, {"signed": {**signed(), "signatures": signatures}}) is not None
    assert time.monotonic() - started < 2
