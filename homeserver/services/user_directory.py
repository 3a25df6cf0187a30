"""Searching for users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#user-directory
"""

from __future__ import annotations

from typing import Any

from homeserver.config import UserDirectory as UserDirectorySettings
from homeserver.core.name_words import range_of, searched_words
from homeserver.services.user_directory_index import UserDirectoryIndex
from homeserver.storage import user_directory
from homeserver.storage.database import Database
from homeserver.storage.user_directory import Entry, UserSearch

DEFAULT_LIMIT = 10
MAX_LIMIT = 50


class UserDirectory:
    """Finds users by what they are called."""

    def __init__(
        self, database: Database, settings: UserDirectorySettings, index: UserDirectoryIndex
    ) -> None:
        """`index` keeps up what is searched."""
        self._database = database
        self._settings = settings
        self._index = index

    async def search(self, user_id: str, term: str, limit: int | None) -> dict[str, Any]:
        """Those whom the user may find: `results`, and whether there are more, `limited`.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
        """
        settings = self._settings
        ranges = [range_of(word) for word in searched_words(term)]
        if not settings.enabled or not ranges:
            return {"results": [], "limited": False}
        most = min(DEFAULT_LIMIT if limit is None else limit, MAX_LIMIT)
        wanted = UserSearch(
            user_id,
            ranges,
            most + 1,
            all_local=settings.search_all_users,
            only_local=settings.exclude_remote_users,
            local_first=settings.prefer_local_users,
            with_locked=settings.show_locked_users,
        )
        await self._index.catch_up()
        found = await self._database.read(lambda tx: user_directory.search(tx, wanted))
        return {"results": [_result(entry) for entry in found[:most]], "limited": len(found) > most}


def _result(entry: Entry) -> dict[str, Any]:
    result = {"user_id": entry.user_id}
    if entry.display_name is not None:
        result["display_name"] = entry.display_name
    if entry.avatar_url is not None:
        result["avatar_url"] = entry.avatar_url
    return result
