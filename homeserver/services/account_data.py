"""Account data: what users keep on the server for themselves.

Spec: https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from __future__ import annotations

from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param, not_found, too_large
from homeserver.core.identifiers import is_valid_room_id
from homeserver.core.requester import Requester
from homeserver.services.notifier import Committed
from homeserver.services.push_rules import PUSH_RULES, rules_event_content
from homeserver.services.user_writes import UserWrites
from homeserver.storage import account_data, positions
from homeserver.storage.account_data import GLOBAL, AccountDatum
from homeserver.storage.database import Transaction

SERVER_MANAGED: Final = frozenset({"m.fully_read", PUSH_RULES})
"""What clients cannot set through this API.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-8
"""

MAX_TYPE_BYTES: Final = 255
MAX_CONTENT_BYTES: Final = 256 * 1024
MAX_DATA: Final = 20_000
"""How many types, counted in each room, a user may have: an initial /sync brings them all."""

MAX_TOTAL_BYTES: Final = 16 * 1024 * 1024
"""How much content they may have together."""


class AccountData:
    """Reads and sets account data; `room_id` None is for what belongs to no room."""

    def __init__(self, writes: UserWrites) -> None:
        self._writes = writes

    async def get(
        self, requester: Requester, user_id: str, data_type: str, room_id: str | None = None
    ) -> bytes:
        """The JSON of a type. Raises M_FORBIDDEN, M_INVALID_PARAM, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
        """
        check_place(requester, user_id, room_id)

        async def work(tx: Transaction) -> bytes | None:
            if room_id is None and data_type == PUSH_RULES:
                return await rules_event_content(tx, user_id)
            return await account_data.get(tx, user_id, room_id or GLOBAL, data_type)

        content = await self._writes.read(work)
        if content is None:
            raise not_found("Account data not found." if room_id is None else "Room account data not found.")
        return content

    async def set(
        self,
        requester: Requester,
        user_id: str,
        data_type: str,
        content: dict[str, Any],
        room_id: str | None = None,
    ) -> None:
        """Keep the content under its type. Raises M_FORBIDDEN, M_INVALID_PARAM, M_TOO_LARGE, and 405 M_BAD_JSON for what the
        server manages.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
        """
        check_place(requester, user_id, room_id)
        if data_type in SERVER_MANAGED:
            raise MatrixError("M_BAD_JSON", f"Cannot set {data_type} through this API.", 405)
        if not 1 <= len(data_type.encode()) <= MAX_TYPE_BYTES:
            raise invalid_param(f"A type of account data has between 1 and {MAX_TYPE_BYTES} bytes")

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            return None, await store(tx, user_id, room_id or GLOBAL, data_type, content)

        await self._writes.run(work)


def check_place(requester: Requester, user_id: str, room_id: str | None) -> None:
    """Raises M_FORBIDDEN for the data of another user, M_INVALID_PARAM for what is no room ID."""
    if requester.user_id != user_id:
        raise forbidden("The account data of other users cannot be read or set")
    if room_id is not None and not is_valid_room_id(room_id):
        raise invalid_param(f"{room_id[:255]} is not a valid room ID")


async def store(
    tx: Transaction, user_id: str, room_id: str, data_type: str, content: dict[str, Any]
) -> Committed | None:
    """Keep account data; None when it was just so before, and nobody needs to be told. Raises M_BAD_JSON, M_TOO_LARGE."""
    try:
        encoded = encode_canonical(content)
    except CanonicalJSONError as error:
        raise bad_json(error.reason) from error
    if len(encoded) > MAX_CONTENT_BYTES:
        raise too_large(f"Account data of one type has at most {MAX_CONTENT_BYTES} bytes")
    before = await account_data.get(tx, user_id, room_id, data_type)
    if before is not None and bytes(before) == encoded:
        return None
    if before is None or len(encoded) > len(before):
        await _check_room_for(tx, user_id, 1 if before is None else 0, len(encoded) - len(before or b""))
    position = await positions.take(tx)
    await account_data.put(tx, user_id, AccountDatum(room_id, data_type, encoded, position))
    return Committed(position, users=frozenset({user_id}))


async def _check_room_for(tx: Transaction, user_id: str, more: int, more_bytes: int) -> None:
    """Raises M_TOO_LARGE when the user would have too much."""
    count, used = await account_data.size(tx, user_id)
    if count + more > MAX_DATA:
        raise too_large(f"A user has account data of at most {MAX_DATA} types in all rooms together")
    if used + more_bytes > MAX_TOTAL_BYTES:
        raise too_large(f"A user has at most {MAX_TOTAL_BYTES} bytes of account data")
