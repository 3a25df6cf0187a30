"""Registration tokens, as Synapse's administrators know them.

The protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.registration_tokens import (
    DEFAULT_LENGTH,
    UNCHANGED,
    CountedToken,
    RegistrationTokens,
    Unchanged,
)

PATH = "/_synapse/admin/v1/registration_tokens"


class ValidQuery(Struct):
    """Only tokens that are valid, or that are not."""

    valid: bool | None = None


class NewToken(Struct):
    """`expiry_time` is in milliseconds since 1970; `length` is that of a random token."""

    token: str | None = None
    uses_allowed: int | None = None
    expiry_time: int | None = None
    length: int | None = None


class Limits(Struct):
    """What is to change; null is without limit."""

    uses_allowed: int | None | UnsetType = UNSET
    expiry_time: int | None | UnsetType = UNSET


@endpoint("GET", PATH, auth=ACCESS_TOKEN)
async def list_registration_tokens(
    request: Request, query: ValidQuery, tokens: RegistrationTokens
) -> dict[str, Any]:
    """All tokens.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    request.requester.check_is_admin()
    return {"registration_tokens": [_answer(each) for each in await tokens.all(query.valid)]}


@endpoint("POST", f"{PATH}/new", auth=ACCESS_TOKEN)
async def create_registration_token(
    request: Request, body: NewToken, tokens: RegistrationTokens
) -> dict[str, Any]:
    """Make a token.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    request.requester.check_is_admin()
    length = DEFAULT_LENGTH if body.length is None else body.length
    return _answer(await tokens.create(body.token, body.uses_allowed, body.expiry_time, length))


@endpoint("GET", f"{PATH}/{{token}}", auth=ACCESS_TOKEN)
async def get_registration_token(request: Request, token: str, tokens: RegistrationTokens) -> dict[str, Any]:
    """One token.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    request.requester.check_is_admin()
    return _answer(await tokens.get(token))


@endpoint("PUT", f"{PATH}/{{token}}", auth=ACCESS_TOKEN)
async def update_registration_token(
    request: Request, token: str, body: Limits, tokens: RegistrationTokens
) -> dict[str, Any]:
    """Change a token's limits.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    request.requester.check_is_admin()
    return _answer(await tokens.limit(token, _given(body.uses_allowed), _given(body.expiry_time)))


@endpoint("DELETE", f"{PATH}/{{token}}", auth=ACCESS_TOKEN)
async def delete_registration_token(
    request: Request, token: str, tokens: RegistrationTokens
) -> dict[str, Any]:
    """Forget a token.

    Protocol: https://element-hq.github.io/synapse/latest/usage/administration/admin_api/registration_tokens.html
    """
    request.requester.check_is_admin()
    await tokens.remove(token)
    return {}


def _given(limit: int | None | UnsetType) -> int | None | Unchanged:
    return UNCHANGED if isinstance(limit, UnsetType) else limit


def _answer(counted: CountedToken) -> dict[str, Any]:
    token = counted.token
    return {
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": counted.pending,
        "completed": token.completed,
        "expiry_time": token.expiry_ts,
    }
