"""The summary of one room, for users of ours and for strangers.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from homeserver.core.errors import invalid_param, not_found
from homeserver.core.identifiers import is_valid_room_alias, is_valid_room_id, is_valid_server_name
from homeserver.services.directory import Directory
from homeserver.services.summary_lookup import SummaryLookup


class RoomSummary:
    """Summarises rooms."""

    def __init__(self, lookup: SummaryLookup, directory: Directory) -> None:
        """Names are found by `directory`."""
        self._lookup = lookup
        self._directory = directory

    async def get(self, user_id: str | None, room_id_or_alias: str, via: Sequence[str]) -> dict[str, Any]:
        """The room's summary with the user's membership. user_id: None for who has no account, for whom no other server is asked.

        Raises M_INVALID_PARAM, M_NOT_FOUND also for a room that the user may not know of.
        """
        wrong = next((server for server in via if not is_valid_server_name(server)), None)
        if wrong is not None:
            raise invalid_param(f"{wrong[:300]!r} in via is not a server name")
        room_id, servers = await self._room(user_id, room_id_or_alias)
        found = await self._lookup.find(user_id, room_id, (*via, *servers))
        if found is None:
            raise not_found("Room not found.")
        answer = dict(found.summary.entry)
        if user_id is not None:
            answer["membership"] = found.membership or "leave"
        return answer

    async def _room(self, user_id: str | None, room_id_or_alias: str) -> tuple[str, list[str]]:
        if is_valid_room_id(room_id_or_alias):
            return room_id_or_alias, []
        if not is_valid_room_alias(room_id_or_alias):
            raise invalid_param(f"{room_id_or_alias[:300]!r} is neither a room ID nor a room alias")
        if user_id is not None:
            return await self._directory.resolve(room_id_or_alias)
        target = await self._directory.local_alias(room_id_or_alias)
        if target is None:
            raise not_found("Room not found.")
        return target.room_id, target.servers
