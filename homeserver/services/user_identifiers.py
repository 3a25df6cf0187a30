"""Who is meant by the identifier of a login or an authentication.

Spec: https://spec.matrix.org/v1.19/client-server-api/#identifier-types
"""

from __future__ import annotations

from msgspec import Struct

from homeserver.core.errors import MatrixError, bad_json, forbidden, missing_param

PASSWORD = "m.login.password"


class UserIdentifier(Struct):
    """Who it is. Spec: https://spec.matrix.org/v1.19/client-server-api/#identifier-types"""

    type: str | None = None
    user: str | None = None
    medium: str | None = None


def named_user(identifier: UserIdentifier | None, user: str | None, medium: str | None) -> str | None:
    """The user ID or localpart that is given; None when nobody is. user and medium: the deprecated forms of an identifier.

    Raises M_FORBIDDEN for a third-party identifier, since no account here has one; M_MISSING_PARAM, M_BAD_JSON.
    """
    if identifier is None:
        if user is None and medium is not None:
            raise _no_such_identifier()
        return user
    if identifier.type == "m.id.user":
        if identifier.user is None:
            raise missing_param("The identifier has no user")
        return identifier.user
    if identifier.type in ("m.id.thirdparty", "m.id.phone") or identifier.medium is not None:
        raise _no_such_identifier()
    raise bad_json("Unknown type of identifier; m.id.user is known - at `$.identifier.type`")


def _no_such_identifier() -> MatrixError:
    # "In the case that the homeserver does not know about the supplied 3PID, the homeserver must respond with
    # 403 Forbidden." It knows none.
    return forbidden("No account has this third-party identifier")
