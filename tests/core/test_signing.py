"""Signing and verifying: the specification's vectors, round trips, and whose signatures an event needs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nacl.signing import VerifyKey
from signedjson.key import decode_signing_key_base64, generate_signing_key

from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event, content_hash, has_valid_content_hash, parse_pdu, redact
from homeserver.core.room_versions import ROOM_VERSIONS, rules_for
from homeserver.core.signing import (
    event_signature_keys,
    event_signed_bytes,
    json_signature_keys,
    key_id_of,
    required_signatures,
    sign_event_as,
    sign_json,
    signature_of,
    verify_event_signature,
    verify_json,
)
from tests.core.strategies import (
    KEY_ID,
    QUICK,
    SIGNING_KEY,
    VERIFY_KEY,
    contents,
    create_event,
    events,
    next_event,
    pdu_of,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "signing.json").read_text())
OTHER_KEY = decode_signing_key_base64("ed25519", "2", "AJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEYS = {KEY_ID: VERIFY_KEY}


@pytest.mark.parametrize("vector", VECTORS["json"])
def test_json_vectors_of_the_specification(vector: dict[str, Any]) -> None:
    assert sign_json(vector["input"], "domain", SIGNING_KEY) == vector["signed"]
    assert verify_json(vector["signed"], "domain", KEY_ID, VERIFY_KEY)


@pytest.mark.parametrize("vector", VECTORS["events"])
@pytest.mark.parametrize("version", [str(number) for number in range(1, 11)])
def test_event_vectors_of_the_specification(vector: dict[str, Any], version: str) -> None:
    # The vectors keep `origin`, as redaction does up to room version 10.
    rules = rules_for(version)
    hashed = {**vector["input"], "hashes": {"sha256": content_hash(vector["input"])}}
    signature = signature_of(event_signed_bytes(hashed, rules), SIGNING_KEY)
    assert {**hashed, "signatures": {"domain": {KEY_ID: signature}}} == vector["signed"]


def test_signing_does_not_change_what_is_signed() -> None:
    signed = sign_json({"a": 1, "unsigned": {"b": 2}}, "one", SIGNING_KEY)
    before = json.dumps(signed)
    twice = sign_json(signed, "two", OTHER_KEY)
    assert json.dumps(signed) == before
    assert twice["unsigned"] == {"b": 2}
    assert json_signature_keys(twice, "one") == ["ed25519:1"]
    assert json_signature_keys(twice, "two") == ["ed25519:2"]
    assert verify_json(twice, "one", "ed25519:1", VERIFY_KEY)
    assert verify_json(twice, "two", "ed25519:2", OTHER_KEY.verify_key)
    assert not verify_json(twice, "two", "ed25519:1", VERIFY_KEY)
    assert not verify_json(twice, "one", "ed25519:1", OTHER_KEY.verify_key)
    assert json_signature_keys(twice, "three") == json_signature_keys({}, "one") == []


@QUICK
@given(contents, contents)
def test_signing_round_trips_and_leaves_unsigned_free(
    value: dict[str, Any], unsigned: dict[str, Any]
) -> None:
    signed = sign_json(value, "domain", SIGNING_KEY)
    assert verify_json(signed, "domain", KEY_ID, VERIFY_KEY)
    assert verify_json({**signed, "unsigned": unsigned}, "domain", KEY_ID, VERIFY_KEY)
    assert not verify_json({**signed, "added": 1}, "domain", KEY_ID, VERIFY_KEY)


@pytest.mark.parametrize(
    "signatures",
    [
        None,
        [],
        "x",
        {},
        {"domain": None},
        {"domain": []},
        {"domain": {}},
        {"domain": {KEY_ID: None}},
        {"domain": {KEY_ID: ["x"]}},
        {"domain": {KEY_ID: ""}},
        {"domain": {KEY_ID: "!"}},
        {"domain": {KEY_ID: "é"}},
        {"domain": {KEY_ID: "AAAA"}},
        {"domain": {KEY_ID: "A" * 86}},
        {"domain": {KEY_ID: "A" * 85}},
        {"domain": {"ed25519:2": "A" * 86}},
        {"other": {KEY_ID: "A" * 86}},
    ],
)
def test_signatures_that_are_none(signatures: Any) -> None:
    assert not verify_json({"a": 1, "signatures": signatures}, "domain", KEY_ID, VERIFY_KEY)


@pytest.mark.parametrize("signatures", [None, [], "x", {"other": None}, {"domain": "x", "other": []}])
def test_signing_replaces_what_cannot_be_signatures(signatures: Any) -> None:
    signed = sign_json({"a": 1, "signatures": signatures}, "domain", SIGNING_KEY)
    assert signed == sign_json({"a": 1}, "domain", SIGNING_KEY)


def test_what_cannot_be_canonical_json_cannot_be_verified() -> None:
    signed = sign_json({"a": "b"}, "domain", SIGNING_KEY)
    assert not verify_json({**signed, "a": "\ud800"}, "domain", KEY_ID, VERIFY_KEY)


def test_unknown_algorithms_are_not_understood() -> None:
    signatures = {"domain": {"ed448:1": "AAAA", "ed25519": "AAAA", "ed25519:a": "AAAA"}}
    assert json_signature_keys({"signatures": signatures}, "domain") == ["ed25519:a"]


@QUICK
@given(events())
def test_our_events_bear_the_signatures_they_need(event: Event) -> None:
    assert verify_event_signature(event, "domain", KEYS)
    assert verify_event_signature(redact(event), "domain", KEYS)
    assert event_signature_keys(event, "domain") == [KEY_ID]
    assert not verify_event_signature(event, "other", KEYS)
    assert not verify_event_signature(event, "domain", {KEY_ID: OTHER_KEY.verify_key})
    assert not verify_event_signature(event, "domain", {})


@QUICK
@given(events(), st.sampled_from(["sender", "type", "depth", "origin_server_ts", "prev_events", "hashes"]))
def test_a_signature_covers_what_redaction_keeps(event: Event, field: str) -> None:
    changes: dict[str, Any] = {
        "sender": "@mallory:domain",
        "type": event.type + ".changed",
        "depth": event.depth - 1 if event.depth else 1,
        "origin_server_ts": event.origin_server_ts - 1
        if event.origin_server_ts > 0
        else event.origin_server_ts + 1,
        "prev_events": [],
        "hashes": {"sha256": "changed"},
    }
    assume(field != "prev_events" or event.prev_event_ids)
    # Under another type, a create event of room version 12 would lack its room ID.
    assume(field != "type" or event.type != "m.room.create")
    changed = parse_pdu(pdu_of(event, **{field: changes[field]}), event.rules)
    assert not verify_event_signature(changed, "domain", KEYS)


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_another_server_can_sign_too(version: str) -> None:
    event = next_event(create_event(rules_for(version)))
    both = sign_event_as(event, "resident.example", OTHER_KEY)
    assert both.event_id == event.event_id
    assert has_valid_content_hash(both)
    assert verify_event_signature(both, "domain", KEYS)
    assert verify_event_signature(both, "resident.example", {"ed25519:2": OTHER_KEY.verify_key})
    assert "resident.example" not in event.signatures
    assert parse_pdu(json.loads(both.canonical), event.rules) == both


def test_one_bad_signature_by_a_known_key_spoils_the_good_one() -> None:
    # "If all signatures from known unexpired keys from the originating server(s) are found to be valid"
    event = next_event(create_event(rules_for("12")))
    keys: dict[str, VerifyKey] = {**KEYS, "ed25519:2": OTHER_KEY.verify_key}
    both = sign_event_as(event, "domain", OTHER_KEY)
    assert verify_event_signature(both, "domain", keys)
    by_server = dict(both.signatures["domain"])
    spoilt = both.with_signatures({"domain": {**by_server, "ed25519:2": by_server[KEY_ID]}})
    assert not verify_event_signature(spoilt, "domain", keys)
    # A signature by a key that is not known is skipped.
    assert verify_event_signature(spoilt, "domain", KEYS)


def test_the_policy_servers_key_is_not_looked_up() -> None:
    event = next_event(create_event(rules_for("12")))
    signed = event.with_signatures({"domain": {**event.signatures["domain"], "ed25519:policy_server": "x"}})
    assert event_signature_keys(signed, "domain") == [KEY_ID]
    policy_key = generate_signing_key("policy_server")
    by_policy_server = sign_event_as(event, "policy.example", policy_key)
    assert event_signature_keys(by_policy_server, "policy.example") == []
    assert verify_event_signature(
        by_policy_server, "policy.example", {key_id_of(policy_key): policy_key.verify_key}
    )


def member(version: str, content: dict[str, Any], sender: str = "@bob:sender.example") -> Event:
    create = create_event(rules_for(version))
    return next_event(
        create, type="m.room.member", state_key="@x:target.example", sender=sender, content=content
    )


def test_an_event_needs_its_senders_signature() -> None:
    event = next_event(create_event(rules_for("12")), sender="@bob:[::1]:8448")
    assert required_signatures(event) == {"[::1]:8448"}


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_first_versions_need_the_event_ids_server_too(version: str) -> None:
    create = create_event(rules_for(version))
    event = next_event(create, sender="@bob:sender.example", event_id="$a:id.example:80")
    assert required_signatures(event) == {"sender.example", "id.example:80"}
    assert required_signatures(create) == {"domain"}


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_a_third_party_invite_may_come_by_another_server(version: str) -> None:
    by_id = {"domain"} if version in ("1", "2") else set()
    invite = {"membership": "invite", "third_party_invite": {"signed": {}}}
    assert required_signatures(member(version, invite)) == by_id
    assert required_signatures(member(version, {"membership": "invite"})) == by_id | {"sender.example"}
    joined = {**invite, "membership": "join"}
    assert required_signatures(member(version, joined)) == by_id | {"sender.example"}
    other = next_event(create_event(rules_for(version)), content=invite, sender="@bob:sender.example")
    assert required_signatures(other) == by_id | {"sender.example"}


@pytest.mark.parametrize("version", ROOM_VERSIONS)
def test_a_restricted_join_needs_the_authorising_servers_signature(version: str) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@admin:resident.example"}
    needed = {"sender.example"}
    if version in ("1", "2"):
        needed.add("domain")
    if int(version) >= 8:
        needed.add("resident.example")
    assert required_signatures(member(version, content)) == needed
    message = next_event(create_event(rules_for(version)), content=content)
    assert "resident.example" not in required_signatures(message)


@pytest.mark.parametrize("user_id", [None, 5, "", "admin", "@admin", "@admin:", {"@a:b": 1}])
def test_an_authorising_user_that_cannot_exist(user_id: object) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": user_id}
    with pytest.raises(InvalidEvent, match="join_authorised_via_users_server is not a user ID"):
        required_signatures(member("10", content))
    assert required_signatures(member("7", content)) == {"sender.example"}
