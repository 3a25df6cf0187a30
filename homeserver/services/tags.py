"""Tags of rooms: the `m.tag` account data of a room, one tag at a time.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-tagging
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.requester import Requester
from homeserver.services.account_data import check_place, store
from homeserver.services.notifier import Committed
from homeserver.services.user_writes import UserWrites
from homeserver.storage import account_data
from homeserver.storage.database import Transaction

TAG: Final = "m.tag"
MAX_TAG_BYTES: Final = 255


class Tags:
    """Reads and changes the tags that users give to rooms."""

    def __init__(self, writes: UserWrites) -> None:
        self._writes = writes

    async def all(self, requester: Requester, user_id: str, room_id: str) -> dict[str, Any]:
        """The tags of a room, by name. Raises M_FORBIDDEN, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
        """
        check_place(requester, user_id, room_id)
        return await self._writes.read(lambda tx: _tags(tx, user_id, room_id))

    async def set(
        self, requester: Requester, user_id: str, room_id: str, tag: str, about: dict[str, Any]
    ) -> None:
        """Give a room a tag, or change what is told about it. Raises M_FORBIDDEN, M_INVALID_PARAM, M_BAD_JSON, M_TOO_LARGE.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
        """
        check_place(requester, user_id, room_id)
        # "The name of a tag MUST NOT exceed 255 bytes."
        if not 1 <= len(tag.encode()) <= MAX_TAG_BYTES:
            raise invalid_param(f"The name of a tag has between 1 and {MAX_TAG_BYTES} bytes")
        _check_order(about)
        await self._change(user_id, room_id, lambda tags: {**tags, tag: about})

    async def delete(self, requester: Requester, user_id: str, room_id: str, tag: str) -> None:
        """Take a tag away, if the room has it. Raises M_FORBIDDEN, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
        """
        check_place(requester, user_id, room_id)
        await self._change(
            user_id, room_id, lambda tags: {name: about for name, about in tags.items() if name != tag}
        )

    async def _change(
        self, user_id: str, room_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            before = await _tags(tx, user_id, room_id)
            changed = change(before)
            if changed == before:
                return None, None
            return None, await store(tx, user_id, room_id, TAG, {"tags": changed})

        await self._writes.run(work)


async def _tags(tx: Transaction, user_id: str, room_id: str) -> dict[str, Any]:
    """The tags, whatever a client has made of `m.tag` through the account data API."""
    stored = await account_data.get(tx, user_id, room_id, TAG)
    tags = json.loads(stored).get("tags") if stored is not None else None
    return tags if isinstance(tags, dict) else {}


def _check_order(about: dict[str, Any]) -> None:
    """Raises M_BAD_JSON for "ordering information" that is not "a number between 0 and 1"."""
    if "order" not in about:
        return
    order = about["order"]
    if isinstance(order, bool) or not isinstance(order, int | float) or not 0 <= order <= 1:
        raise bad_json("The order of a tag is a number between 0 and 1 - at `$.order`")
