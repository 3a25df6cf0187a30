"""Answers to servers that ask where our aliases lead and what our users' profiles say.

Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from homeserver.core import errors
from homeserver.core.identifiers import domain_of, is_valid_room_alias, is_valid_user_id

FindAlias = Callable[[str], Awaitable[tuple[str, Sequence[str]]]]
"""(an alias of ours) -> the room ID, and servers that are in the room. Raises M_NOT_FOUND."""

FindProfile = Callable[[str], Awaitable[dict[str, Any]]]
"""(a user of ours) -> the public fields of the profile. Raises M_NOT_FOUND."""

MAX_SERVERS = 100


class FederationQueries:
    """What other servers may ask of our aliases and users."""

    def __init__(
        self, server_name: str, find_alias: FindAlias, find_profile: FindProfile, *, profiles_allowed: bool
    ) -> None:
        """`profiles_allowed`: allow_profile_lookup_over_federation."""
        self._server_name = server_name
        self._find_alias = find_alias
        self._find_profile = find_profile
        self._profiles_allowed = profiles_allowed

    async def directory(self, room_alias: str) -> dict[str, Any]:
        """Where an alias of ours leads: `{"room_id", "servers"}`. Raises M_NOT_FOUND, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
        """
        if not is_valid_room_alias(room_alias) or domain_of(room_alias) != self._server_name:
            raise errors.invalid_param(f"{room_alias[:300]!r} is not an alias of {self._server_name}")
        room_id, servers = await self._find_alias(room_alias)
        # Ours first: whoever asks can reach us.
        named = [self._server_name, *(server for server in servers if server != self._server_name)]
        return {"room_id": room_id, "servers": named[:MAX_SERVERS]}

    async def profile(self, user_id: str, field: str | None) -> dict[str, Any]:
        """The profile of a user of ours, or one field of it. Raises M_NOT_FOUND, M_INVALID_PARAM, M_FORBIDDEN.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
        """
        if not self._profiles_allowed:
            raise errors.forbidden("Profile lookup over federation is disabled on this homeserver")
        if not is_valid_user_id(user_id) or domain_of(user_id) != self._server_name:
            raise errors.invalid_param(f"{user_id[:300]!r} is not a user of {self._server_name}")
        profile = await self._find_profile(user_id)
        if field is None:
            return profile
        if field not in profile:
            raise errors.not_found(f"{user_id} has no {field[:100]!r} in the profile")
        return {field: profile[field]}
