"""Paths are matched as they stand on the wire, and each segment is decoded once."""

import pytest

from homeserver.core.errors import MatrixError
from homeserver.http.router import MethodNotAllowed, Router


def router() -> Router[str]:
    made: Router[str] = Router()
    made.add("GET", "/rooms/{room_id}/state", "all")
    made.add("PUT", "/rooms/{room_id}/state/{event_type}/{state_key}", "put")
    made.add("GET", "/rooms/{room_id}/state/{event_type}/{state_key}", "get")
    made.add("GET", "/rooms/{room_id}/state/{event_type}", "get without key")
    made.add("POST", "/join/{room}", "join")
    made.add("GET", "/users/me", "me")
    made.add("GET", "/users/{user_id}", "user")
    made.add("DELETE", "/users/{user_id}", "delete user")
    made.add("GET", "/users/me/{what}/x", "mine")
    made.add("GET", "/users/{user_id}/a/y", "theirs")
    return made


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("/join/!abc:test", "!abc:test"),
        ("/join/%21abc%3Atest", "!abc:test"),
        ("/join/%23a%2Fb%3Atest", "#a/b:test"),
        ("/join/%23a%252Fb%3Atest", "#a%2Fb:test"),
        ("/join/a+b", "a+b"),
        ("/join/a%2Bb", "a+b"),
        ("/join/a%20b", "a b"),
        ("/join/%E2%82%AC", "€"),
        ("/join/€", "€"),
        ("/join/..", ".."),
        ("/join/100%", "100%"),
        ("/join/", ""),
    ],
)
def test_a_parameter_is_decoded_exactly_once(path: str, room: str) -> None:
    match = router().match("POST", path)
    assert (match.target, match.parameters) == ("join", {"room": room})


@pytest.mark.parametrize("path", ["/join/%FF", "/join/%ED%A0%80", "/join/\udcff", "/join/a%00b"])
def test_what_is_not_utf8_or_holds_nul_is_refused(path: str) -> None:
    with pytest.raises(MatrixError) as refused:
        router().match("POST", path)
    assert (refused.value.status, refused.value.errcode) == (400, "M_INVALID_PARAM")


def test_an_empty_state_key_is_a_parameter() -> None:
    match = router().match("PUT", "/rooms/!a/state/m.room.name/")
    assert match.parameters == {"room_id": "!a", "event_type": "m.room.name", "state_key": ""}
    assert router().match("GET", "/rooms/!a/state/m.room.name").target == "get without key"


def test_a_literal_wins_and_a_parameter_is_tried_after_it() -> None:
    assert router().match("GET", "/users/me").target == "me"
    assert router().match("GET", "/users/%6De").target == "me"
    assert router().match("DELETE", "/users/me").parameters == {"user_id": "me"}
    assert router().match("GET", "/users/me/a/x").target == "mine"
    assert router().match("GET", "/users/me/a/y").target == "theirs"


@pytest.mark.parametrize(
    "path",
    ["", "/", "//", "/rooms", "/rooms//state", "/join/a/", "/join/a/b", "/nowhere", "x" * 50, "/" * 9999],
)
def test_an_unknown_path_is_unrecognized(path: str) -> None:
    with pytest.raises(MatrixError) as refused:
        router().match("GET", path)
    assert (refused.value.status, refused.value.errcode) == (404, "M_UNRECOGNIZED")


def test_a_wrong_method_is_told_the_right_ones() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        router().match("POST", "/rooms/!a/state/x/y")
    assert (refused.value.status, refused.value.errcode) == (405, "M_UNRECOGNIZED")
    assert set(refused.value.allowed) == {"GET", "PUT"}


def test_head_is_answered_by_get() -> None:
    assert router().match("HEAD", "/users/@a:b").target == "user"


def test_two_endpoints_for_one_path_are_a_mistake() -> None:
    made = router()
    with pytest.raises(ValueError, match="two endpoints"):
        made.add("GET", "/users/{somebody}", "again")
