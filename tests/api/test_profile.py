"""Transcripts: profiles.

Spec: https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Server

PROFILE = "/_matrix/client/v3/profile/"
ALICE = PROFILE + "@alice:ours.test"
AVATAR = "mxc://ours.test/abc"
NEW = {"displayname": "alice"}
"""The profile of a new account."""


async def test_a_profile_is_made_field_by_field(server: Server) -> None:
    alice = await server.user("alice")
    assert (await server.client.get(ALICE)).ok() == NEW
    assert (await alice.put(ALICE + "/displayname", {"displayname": "Alice ♥", "other": 1})).ok() == {}
    (await alice.put(ALICE + "/avatar_url", {"avatar_url": AVATAR})).ok()
    (await alice.put(ALICE + "/m.tz", {"m.tz": "Europe/London"})).ok()
    custom: dict[str, Any] = {"a": [1, None, True]}
    (await alice.put(ALICE + "/org.example.custom_1", {"org.example.custom_1": custom})).ok()
    (await alice.put(ALICE + "/org.example.nothing", {"org.example.nothing": None})).ok()
    assert (await server.client.get(ALICE)).ok() == {
        "displayname": "Alice ♥",
        "avatar_url": AVATAR,
        "m.tz": "Europe/London",
        "org.example.custom_1": custom,
        "org.example.nothing": None,
    }
    # One field, without a token; and the user ID percent-encoded.
    answer = await server.client.get(PROFILE + "%40alice%3Aours.test/displayname")
    assert answer.ok() == {"displayname": "Alice ♥"}
    assert (await server.client.get(ALICE + "/org.example.nothing")).ok() == {"org.example.nothing": None}


async def test_a_field_is_removed(server: Server) -> None:
    alice = await server.user("alice")
    (await alice.put(ALICE + "/m.tz", {"m.tz": "UTC"})).ok()
    assert (await alice.delete(ALICE + "/m.tz")).ok() == {}
    assert (await alice.delete(ALICE + "/m.tz")).ok() == {}
    (await server.client.get(ALICE + "/m.tz")).refused(404, "M_NOT_FOUND")


async def test_an_empty_name_or_avatar_removes_the_field(server: Server) -> None:
    alice = await server.user("alice")
    for field, value in (("displayname", "Alice"), ("avatar_url", AVATAR)):
        (await alice.put(f"{ALICE}/{field}", {field: value})).ok()
        (await alice.put(f"{ALICE}/{field}", {field: ""})).ok()
    assert (await server.client.get(ALICE)).ok() == {}


async def test_rooms_are_told_of_names_and_avatars_that_change(server: Server) -> None:
    alice = await server.user("alice")
    (await alice.put(ALICE + "/displayname", {"displayname": "Alice"})).ok()
    assert server.changed_profiles == ["@alice:ours.test"]
    (await alice.put(ALICE + "/displayname", {"displayname": "Alice"})).ok()
    (await alice.put(ALICE + "/m.tz", {"m.tz": "UTC"})).ok()
    (await alice.delete(ALICE + "/avatar_url")).ok()
    assert len(server.changed_profiles) == 1
    (await alice.delete(ALICE + "/displayname")).ok()
    assert len(server.changed_profiles) == 2


async def test_unknown_users_and_fields(server: Server) -> None:
    alice = await server.user("alice")
    (await server.client.get(PROFILE + "@nobody:ours.test")).refused(404, "M_NOT_FOUND")
    (await server.client.get(PROFILE + "@nobody:ours.test/displayname")).refused(404, "M_NOT_FOUND")
    (await server.client.get(ALICE + "/avatar_url")).refused(404, "M_NOT_FOUND")
    (await alice.delete(ALICE + "/displayname")).ok()
    (await server.client.get(ALICE + "/displayname")).refused(404, "M_NOT_FOUND")
    (await server.client.get(PROFILE + "alice")).refused(400, "M_INVALID_PARAM")
    (await server.client.get(ALICE + "/Bad.Key")).refused(400, "M_INVALID_PARAM")


async def test_the_profile_of_another_user_cannot_be_changed(server: Server) -> None:
    await server.user("alice")
    bob = await server.user("bob")
    (await bob.put(ALICE + "/displayname", {"displayname": "x"})).refused(403, "M_FORBIDDEN")
    (await bob.delete(ALICE + "/displayname")).refused(403, "M_FORBIDDEN")
    path = PROFILE + "@bob:elsewhere.test/displayname"
    (await bob.put(path, {"displayname": "x"})).refused(403, "M_FORBIDDEN")
    (await server.client.put(ALICE + "/displayname", {"displayname": "x"})).refused(401, "M_MISSING_TOKEN")
    (await server.client.delete(ALICE + "/displayname")).refused(401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    ("key", "body", "errcode"),
    [
        ("displayname", {}, "M_MISSING_PARAM"),
        ("displayname", {"avatar_url": AVATAR}, "M_MISSING_PARAM"),
        ("displayname", {"displayname": None}, "M_BAD_JSON"),
        ("displayname", {"displayname": ["x"]}, "M_BAD_JSON"),
        ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "https://ours.test/a.png"}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": "mxc://ours.test/../a"}, "M_INVALID_PARAM"),
        ("avatar_url", {"avatar_url": 5}, "M_BAD_JSON"),
        ("m.tz", {"m.tz": 1}, "M_BAD_JSON"),
        ("nodots", {"nodots": 1}, "M_INVALID_PARAM"),
        ("org.Example", {"org.Example": 1}, "M_INVALID_PARAM"),
        ("org.example." + "x" * 250, {"org.example." + "x" * 250: 1}, "M_KEY_TOO_LARGE"),
        ("org.example.big", {"org.example.big": "x" * 65530}, "M_PROFILE_TOO_LARGE"),
    ],
)
async def test_what_cannot_be_a_field(server: Server, key: str, body: dict[str, Any], errcode: str) -> None:
    alice = await server.user("alice")
    (await alice.put(f"{ALICE}/{key}", body)).refused(400, errcode)
    assert (await alice.get(ALICE)).ok() == NEW


async def test_the_whole_profile_stays_small(server: Server) -> None:
    alice = await server.user("alice")
    for number in range(2):
        (await alice.put(f"{ALICE}/org.example.n{number}", {f"org.example.n{number}": "x" * 30_000})).ok()
    answer = await alice.put(f"{ALICE}/org.example.n2", {"org.example.n2": "x" * 30_000})
    answer.refused(400, "M_PROFILE_TOO_LARGE")
    # To make a field smaller is always possible.
    (await alice.put(f"{ALICE}/org.example.n1", {"org.example.n1": "x"})).ok()


async def test_what_other_servers_tell_is_believed_as_far_as_it_can_be(server: Server) -> None:
    told = {
        "displayname": "x" * 300,
        "avatar_url": "https://remote.test/a.png",
        "m.tz": "UTC",
        "Not a Key": 1,
        "org.example.odd": 0.5,
        "org.example.large": "x" * 50_000,
        "org.example.more": "x" * 50_000,
    }
    server.remote_profiles.known["@carol:remote.test"] = told
    expected = {"m.tz": "UTC", "org.example.odd": 0.5, "org.example.large": "x" * 50_000}
    assert (await server.client.get(PROFILE + "@carol:remote.test")).ok() == expected
    (await server.client.get(PROFILE + "@carol:remote.test/avatar_url")).refused(404, "M_NOT_FOUND")


async def test_profiles_of_other_servers_are_asked_for(server: Server) -> None:
    remote = PROFILE + "@carol:remote.test"
    server.remote_profiles.known["@carol:remote.test"] = {"displayname": "Carol"}
    assert (await server.client.get(remote)).ok() == {"displayname": "Carol"}
    assert (await server.client.get(remote + "/displayname")).ok() == {"displayname": "Carol"}
    (await server.client.get(remote + "/avatar_url")).refused(404, "M_NOT_FOUND")
    (await server.client.get(PROFILE + "@dave:remote.test")).refused(404, "M_NOT_FOUND")
    assert server.remote_profiles.asked == [
        ("@carol:remote.test", None),
        ("@carol:remote.test", "displayname"),
        ("@carol:remote.test", "avatar_url"),
        ("@dave:remote.test", None),
    ]
