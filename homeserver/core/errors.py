"""What goes wrong, in the specification's terms.

`MatrixError` is what a client or another server is answered; the functions below it are the only place where
an errcode meets its HTTP status. `InvalidEvent` is the core's own refusal of a PDU: the core never answers
HTTP, so services turn it into a `MatrixError` or into a counted rejection.

Spec: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from __future__ import annotations

from typing import Any


class MatrixError(Exception):
    """A standard error response: an HTTP status and a JSON body with `errcode` and `error`.

    `extra` is merged into the body (`retry_after_ms`, `soft_logout`, `room_version`, ...).
    """

    def __init__(self, errcode: str, message: str, status: int = 400, **extra: Any) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.errcode = errcode
        self.message = message
        self.status = status
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON body of the response. `errcode` and `error` win over a key of the same name in `extra`."""
        return {**self.extra, "errcode": self.errcode, "error": self.message}


class InvalidEvent(ValueError):
    """A PDU that is not a valid event of its room version. `reason` says precisely why, for logs and
    peers."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EventTooLarge(InvalidEvent):
    """An event beyond one of the size limits. Apart from `InvalidEvent` because it is answered M_TOO_LARGE.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#size-limits
    """


def forbidden(message: str) -> MatrixError:
    """403: the requester may not do this."""
    return MatrixError("M_FORBIDDEN", message, 403)


def not_found(message: str) -> MatrixError:
    """404: there is no such thing, or the requester may not know of it."""
    return MatrixError("M_NOT_FOUND", message, 404)


def bad_json(message: str) -> MatrixError:
    """400: JSON, but not of the form that is needed."""
    return MatrixError("M_BAD_JSON", message, 400)


def not_json(message: str) -> MatrixError:
    """400: not JSON."""
    return MatrixError("M_NOT_JSON", message, 400)


def invalid_param(message: str) -> MatrixError:
    """400: a parameter has a wrong value."""
    return MatrixError("M_INVALID_PARAM", message, 400)


def missing_param(message: str) -> MatrixError:
    """400: a required parameter is absent."""
    return MatrixError("M_MISSING_PARAM", message, 400)


def unknown_token(message: str, soft_logout: bool = False) -> MatrixError:
    """401: the access or refresh token is not known. With `soft_logout` the client keeps its data and logs in
    again.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#soft-logout
    """
    return MatrixError("M_UNKNOWN_TOKEN", message, 401, soft_logout=soft_logout)


def missing_token(message: str = "This request needs an access token") -> MatrixError:
    """401: no access token was given."""
    return MatrixError("M_MISSING_TOKEN", message, 401)


def user_locked() -> MatrixError:
    """401: an administrator has locked the account. The client keeps its data, and may try again later.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#account-locking
    """
    return MatrixError("M_USER_LOCKED", "This account has been locked", 401, soft_logout=True)


def user_suspended() -> MatrixError:
    """403: an administrator has suspended the account.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#account-suspension
    """
    return MatrixError("M_USER_SUSPENDED", "You cannot perform this action while suspended.", 403)


def user_deactivated() -> MatrixError:
    """403: the account has been deactivated."""
    return MatrixError("M_USER_DEACTIVATED", "This account has been deactivated", 403)


def guest_access_forbidden(message: str) -> MatrixError:
    """403: guests may not do this, or not be here.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#guest-access
    """
    return MatrixError("M_GUEST_ACCESS_FORBIDDEN", message, 403)


def unauthorized(message: str) -> MatrixError:
    """401: the request is not correctly authorised, for example a wrong or missing federation signature."""
    return MatrixError("M_UNAUTHORIZED", message, 401)


def unrecognized(message: str, status: int = 404) -> MatrixError:
    """404 (405 for a wrong method): the server does not know this endpoint.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
    """
    return MatrixError("M_UNRECOGNIZED", message, status)


def too_large(message: str) -> MatrixError:
    """413: the request or what it would make is too large."""
    return MatrixError("M_TOO_LARGE", message, 413)


def limit_exceeded(message: str, retry_after_ms: int) -> MatrixError:
    """429: too many requests; the requester may try again after `retry_after_ms` milliseconds.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
    """
    return MatrixError("M_LIMIT_EXCEEDED", message, 429, retry_after_ms=retry_after_ms)


def unknown(message: str, status: int = 500) -> MatrixError:
    """An error that has no code of its own."""
    return MatrixError("M_UNKNOWN", message, status)


def user_in_use(message: str) -> MatrixError:
    """400: the wanted user ID is taken."""
    return MatrixError("M_USER_IN_USE", message, 400)


def invalid_username(message: str) -> MatrixError:
    """400: the wanted user ID is not a valid one."""
    return MatrixError("M_INVALID_USERNAME", message, 400)


def exclusive(message: str) -> MatrixError:
    """400: the name lies in a namespace that an application service holds exclusively."""
    return MatrixError("M_EXCLUSIVE", message, 400)


def room_in_use(message: str) -> MatrixError:
    """400: the wanted room alias is taken."""
    return MatrixError("M_ROOM_IN_USE", message, 400)


def duplicate_annotation(message: str) -> MatrixError:
    """400: the user has annotated the event so already.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
    """
    return MatrixError("M_DUPLICATE_ANNOTATION", message, 400)


def unsupported_room_version(message: str) -> MatrixError:
    """400: this server does not know the room version that a client asked for."""
    return MatrixError("M_UNSUPPORTED_ROOM_VERSION", message, 400)


def incompatible_room_version(version: str) -> MatrixError:
    """400: the room has version `version` and the asking server did not list it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
    """
    return MatrixError(
        "M_INCOMPATIBLE_ROOM_VERSION",
        f"Your homeserver does not support the features required to join this room (room version {version})",
        400,
        room_version=version,
    )


def invalid_room_state(message: str) -> MatrixError:
    """400: the initial state asked for cannot make a room."""
    return MatrixError("M_INVALID_ROOM_STATE", message, 400)


def unable_to_authorise_join(message: str) -> MatrixError:
    """400: this server cannot tell whether the restricted join's conditions are met.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
    """
    return MatrixError("M_UNABLE_TO_AUTHORISE_JOIN", message, 400)


def unable_to_grant_join(message: str) -> MatrixError:
    """400: the conditions are met, but no local user can authorise the join; another server may.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
    """
    return MatrixError("M_UNABLE_TO_GRANT_JOIN", message, 400)


def from_invalid_event(error: InvalidEvent) -> MatrixError:
    """The answer to whoever gave us the event: 413 when it is too large, otherwise 400 M_BAD_JSON."""
    return too_large(error.reason) if isinstance(error, EventTooLarge) else bad_json(error.reason)
