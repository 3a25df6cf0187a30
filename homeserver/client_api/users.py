"""The user directory.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.user_directory import UserDirectory


class UserSearchBody(Struct):
    """What to search for, and how many are wanted."""

    search_term: str
    limit: Annotated[int, Meta(ge=0, le=2**53)] | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/user_directory/search",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user_directory/search",),
    limit="rc_user_directory",
    cancellable=True,
)
async def search_user_directory(
    request: Request, body: UserSearchBody, directory: UserDirectory
) -> dict[str, Any]:
    """Search for users by name or user ID.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
    """
    return await directory.search(request.requester.user_id, body.search_term, body.limit)
