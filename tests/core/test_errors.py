"""The error constructors: each errcode with its status, and the body a client gets."""

import pytest

from homeserver.core import errors
from homeserver.core.errors import EventTooLarge, InvalidEvent, MatrixError


@pytest.mark.parametrize(
    ("error", "errcode", "status"),
    [
        (errors.forbidden("no"), "M_FORBIDDEN", 403),
        (errors.not_found("no"), "M_NOT_FOUND", 404),
        (errors.bad_json("no"), "M_BAD_JSON", 400),
        (errors.not_json("no"), "M_NOT_JSON", 400),
        (errors.invalid_param("no"), "M_INVALID_PARAM", 400),
        (errors.missing_param("no"), "M_MISSING_PARAM", 400),
        (errors.unknown_token("no"), "M_UNKNOWN_TOKEN", 401),
        (errors.missing_token(), "M_MISSING_TOKEN", 401),
        (errors.unauthorized("no"), "M_UNAUTHORIZED", 401),
        (errors.unrecognized("no"), "M_UNRECOGNIZED", 404),
        (errors.unrecognized("no", 405), "M_UNRECOGNIZED", 405),
        (errors.too_large("no"), "M_TOO_LARGE", 413),
        (errors.limit_exceeded("no", 100), "M_LIMIT_EXCEEDED", 429),
        (errors.unknown("no"), "M_UNKNOWN", 500),
        (errors.unknown("no", 400), "M_UNKNOWN", 400),
        (errors.user_in_use("no"), "M_USER_IN_USE", 400),
        (errors.invalid_username("no"), "M_INVALID_USERNAME", 400),
        (errors.exclusive("no"), "M_EXCLUSIVE", 400),
        (errors.room_in_use("no"), "M_ROOM_IN_USE", 400),
        (errors.unsupported_room_version("no"), "M_UNSUPPORTED_ROOM_VERSION", 400),
        (errors.incompatible_room_version("9"), "M_INCOMPATIBLE_ROOM_VERSION", 400),
        (errors.invalid_room_state("no"), "M_INVALID_ROOM_STATE", 400),
        (errors.unable_to_authorise_join("no"), "M_UNABLE_TO_AUTHORISE_JOIN", 400),
        (errors.unable_to_grant_join("no"), "M_UNABLE_TO_GRANT_JOIN", 400),
    ],
)
def test_status_and_errcode(error: MatrixError, errcode: str, status: int) -> None:
    assert (error.errcode, error.status) == (errcode, status)
    body = error.body()
    assert body["errcode"] == errcode
    assert body["error"] == error.message != ""


def test_extra_keys_are_merged_into_the_body() -> None:
    assert errors.limit_exceeded("Slow down", 1500).body() == {
        "errcode": "M_LIMIT_EXCEEDED",
        "error": "Slow down",
        "retry_after_ms": 1500,
    }
    assert errors.unknown_token("Gone", soft_logout=True).body()["soft_logout"] is True
    assert errors.incompatible_room_version("11").body()["room_version"] == "11"


def test_extra_keys_do_not_hide_the_error() -> None:
    assert MatrixError("M_A", "a", 400, error="x").body() == {"errcode": "M_A", "error": "a"}


def test_an_invalid_event_becomes_bad_json_and_a_large_one_too_large() -> None:
    assert errors.from_invalid_event(InvalidEvent("depth is missing")).body() == {
        "errcode": "M_BAD_JSON",
        "error": "depth is missing",
    }
    assert errors.from_invalid_event(EventTooLarge("much")).status == 413
    assert str(InvalidEvent("why")) == InvalidEvent("why").reason == "why"


def test_the_error_says_all_of_itself_in_a_log() -> None:
    assert str(errors.forbidden("You are not joined")) == "403 M_FORBIDDEN: You are not joined"
