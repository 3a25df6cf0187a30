"""Key responses: ours, and the validation of those of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from homeserver.core.signing import sign_json
from homeserver.federation.key_responses import (
    MAX_VALIDITY_MS,
    InvalidKeys,
    StoredKey,
    TrustedKeyServer,
    merge,
    parse_notary_response,
    parse_server_keys,
)
from homeserver.federation.own_keys import OldVerifyKey, OwnKeys, old_verify_key, server_keys, sign_as_notary
from tests.federation.keys import DAY, NOW, keys_of

OLD = generate_signing_key("old")
OWN = OwnKeys(
    "a.example",
    [generate_signing_key("1"), generate_signing_key("2")],
    {"ed25519:old": OldVerifyKey(OLD.verify_key, NOW - DAY)},
)
NOTARY = keys_of("notary.example")
TRUSTED = TrustedKeyServer("notary.example", NOTARY.verify_keys)


def test_what_we_publish_is_what_others_accept() -> None:
    response = server_keys(OWN, NOW)
    assert set(response["verify_keys"]) == {"ed25519:1", "ed25519:2"}
    assert set(response["signatures"]["a.example"]) == {"ed25519:1", "ed25519:2"}
    assert response["valid_until_ts"] == NOW + DAY
    parsed = parse_server_keys(response, NOW, "a.example")
    assert [(key.key_id, key.valid_until, key.is_old) for key in parsed.keys] == [
        ("ed25519:1", NOW + DAY, False),
        ("ed25519:2", NOW + DAY, False),
        ("ed25519:old", NOW - DAY, True),
    ]
    assert parsed.keys[2].verify_key == OLD.verify_key.encode()


def test_a_server_needs_a_key() -> None:
    with pytest.raises(ValueError, match="signing key"):
        OwnKeys("a.example", [])


def test_an_old_key_from_the_settings() -> None:
    assert old_verify_key(encode_base64(OLD.verify_key.encode()), 5) == OldVerifyKey(OLD.verify_key, 5)
    with pytest.raises(ValueError, match=r".+"):
        old_verify_key("AAAA", 5)


def test_validity_is_capped_to_seven_days() -> None:
    parsed = parse_server_keys(server_keys(OWN, NOW, 365 * DAY), NOW)
    assert parsed.valid_until == NOW + MAX_VALIDITY_MS
    assert parsed.keys[0].valid_until == NOW + MAX_VALIDITY_MS


def changed(**fields: Any) -> dict[str, Any]:
    """Our response with other fields, signed anew."""
    response = {**server_keys(OWN, NOW), **fields}
    response.pop("signatures")
    return sign_json(response, "a.example", OWN.signing_key)


def unsigned() -> dict[str, Any]:
    return {**server_keys(OWN, NOW), "signatures": {}}


def tampered() -> dict[str, Any]:
    return {**server_keys(OWN, NOW), "valid_until_ts": NOW + 2 * DAY}


def forged() -> dict[str, Any]:
    """Signed with a key of somebody else under the same ID."""
    response = server_keys(OWN, NOW)
    response.pop("signatures")
    return sign_json(response, "a.example", generate_signing_key("1"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (list, "not a JSON object"),
        (lambda: changed(server_name="b.example"), "not of 'a.example'"),
        (lambda: changed(server_name=5), "not of 'a.example'"),
        (lambda: changed(valid_until_ts="soon"), "valid_until_ts"),
        (lambda: changed(valid_until_ts=True), "valid_until_ts"),
        (lambda: changed(verify_keys=[]), "verify_keys is not an object"),
        (lambda: changed(verify_keys={}), "not signed by a key that it lists"),
        (lambda: changed(verify_keys={"ed25519:1": {"key": "AAAA"}}), "not an ed25519 key"),
        (lambda: changed(verify_keys={"ed25519:1": "AAAA"}), "malformed"),
        (lambda: changed(verify_keys={f"ed25519:{n}": {"key": "A" * 43} for n in range(201)}), "at most 200"),
        (lambda: changed(old_verify_keys={"ed25519:o": {"key": "A" * 43}}), "expired_ts"),
        (unsigned, "not signed"),
        (tampered, "is wrong"),
        (forged, "is wrong"),
    ],
)
def test_what_is_refused(make: Callable[[], Any], reason: str) -> None:
    with pytest.raises(InvalidKeys, match=reason):
        parse_server_keys(make(), NOW, "a.example")


def test_keys_of_unknown_algorithms_are_left_out() -> None:
    keys = {"ed448:1": {"key": "x"}, **server_keys(OWN, NOW)["verify_keys"]}
    assert len(parse_server_keys(changed(verify_keys=keys, old_verify_keys={}), NOW).keys) == 2


def test_a_notary_must_have_signed_with_its_configured_key() -> None:
    good = sign_as_notary(server_keys(OWN, NOW), NOTARY)
    found, problems = parse_notary_response({"server_keys": [good]}, TRUSTED, ["a.example"], NOW)
    assert [keys.server_name for keys in found] == ["a.example"]
    assert not problems
    for bad in (
        server_keys(OWN, NOW),
        sign_as_notary(server_keys(OWN, NOW), keys_of("notary.example")),
        sign_as_notary(server_keys(OWN, NOW), keys_of("other.example")),
        sign_as_notary(forged(), NOTARY),
        "nonsense",
    ):
        found, problems = parse_notary_response({"server_keys": [bad]}, TRUSTED, ["a.example"], NOW)
        assert not found
        assert len(problems) == 1


def test_a_notary_without_configured_keys_is_trusted_by_its_certificate() -> None:
    trusted = TrustedKeyServer("notary.example", {})
    found, _ = parse_notary_response({"server_keys": [server_keys(OWN, NOW)]}, trusted, ["a.example"], NOW)
    assert len(found) == 1


def test_keys_that_were_not_asked_for_are_ignored() -> None:
    good = sign_as_notary(server_keys(OWN, NOW), NOTARY)
    assert parse_notary_response({"server_keys": [good]}, TRUSTED, ["b.example"], NOW) == ([], [])
    with pytest.raises(InvalidKeys):
        parse_notary_response({"keys": []}, TRUSTED, ["b.example"], NOW)


def test_merging() -> None:
    first = parse_server_keys(server_keys(OWN, NOW), NOW)
    later = parse_server_keys(server_keys(keys_of("a.example", "3"), NOW + DAY), NOW + DAY)
    merged = merge(first, later)
    assert merged == merge(later, first), "the order of arrival does not matter"
    assert {key.key_id: key.valid_until for key in merged.keys} == {
        "ed25519:1": NOW + DAY,
        "ed25519:2": NOW + DAY,
        "ed25519:old": NOW - DAY,
        "ed25519:3": NOW + 2 * DAY,
    }
    assert merged.response == later.response
    retired = replace(later, keys=(replace(first.keys[0], valid_until=NOW, is_old=True),))
    assert merge(first, retired).keys[0] == StoredKey("ed25519:1", first.keys[0].verify_key, NOW, is_old=True)
    assert merge(None, first) is first
