"""Pushers of users: which there are, set and deleted.

Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import MatrixError, bad_json, invalid_param, missing_param, unknown_token
from homeserver.core.push_gateway import NOTIFY_PATH, is_gateway_url
from homeserver.core.requester import Requester
from homeserver.services.clock import Clock
from homeserver.services.push.delivery import Delivery
from homeserver.storage import devices, positions, pushers
from homeserver.storage.database import Database, Transaction, is_storable
from homeserver.storage.pushers import Pusher

MAX_APP_ID_CHARACTERS: Final = 64
MAX_PUSHKEY_BYTES: Final = 512
MAX_TEXT_CHARACTERS: Final = 512
MAX_DATA_BYTES: Final = 16 * 1024
MAX_PUSHERS: Final = 100
"""Of one user."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks to be set; None: not given."""

    app_id: str
    pushkey: str
    kind: str
    app_display_name: str | None = None
    device_display_name: str | None = None
    profile_tag: str | None = None
    lang: str | None = None
    data: Mapping[str, Any] | None = None
    append: bool = False


class Pushers:
    """Reads, sets and deletes pushers."""

    def __init__(self, database: Database, delivery: Delivery, clock: Clock) -> None:
        """`delivery` is told of each change."""
        self._database = database
        self._delivery = delivery
        self._clock = clock

    async def of(self, user_id: str) -> list[dict[str, Any]]:
        """The pushers of a user in their JSON form.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
        """
        found = await self._database.read(lambda tx: pushers.of_user(tx, user_id))
        return [_body(stored.pusher) for stored in found]

    async def set(self, requester: Requester, wanted: Wanted) -> None:
        """Add a pusher, or change the one with the same app ID and pushkey.

        Unless `append` is given, it is taken from all other users. Raises M_MISSING_PARAM, M_INVALID_PARAM, M_BAD_JSON,
        M_THREEPID_NOT_FOUND for e-mail, which is not sent here.
        """
        pusher = self._checked(requester, wanted)

        async def work(tx: Transaction) -> int:
            if pusher.device_id and not await devices.exists(tx, pusher.user_id, pusher.device_id):
                raise unknown_token("This session has just ended")
            if not wanted.append:
                await pushers.remove_of_others(tx, pusher.user_id, pusher.app_id, pusher.pushkey)
            existing = await pushers.of_user(tx, pusher.user_id)
            known = {(stored.pusher.app_id, stored.pusher.pushkey) for stored in existing}
            if len(existing) >= MAX_PUSHERS and (pusher.app_id, pusher.pushkey) not in known:
                raise invalid_param(f"A user has at most {MAX_PUSHERS} pushers: delete one first")
            return await pushers.put(tx, pusher, await positions.current(tx))

        pusher_id = await self._database.write(work)
        self._delivery.is_set(pusher.user_id, pusher_id)

    async def delete(self, user_id: str, app_id: str, pushkey: str) -> None:
        """Delete a pusher; it need not be there."""
        _check_name(app_id, pushkey)
        pusher_id = await self._database.write(lambda tx: pushers.remove(tx, user_id, app_id, pushkey))
        if pusher_id is not None:
            self._delivery.is_gone(pusher_id)

    def _checked(self, requester: Requester, wanted: Wanted) -> Pusher:
        _check_name(wanted.app_id, wanted.pushkey)
        required = {
            name: getattr(wanted, name)
            for name in ("app_display_name", "device_display_name", "lang", "data")
        }
        if missing := [name for name, value in required.items() if value is None]:
            raise missing_param(f"Missing parameters: {', '.join(missing)}")
        if wanted.kind == "email":
            raise MatrixError(
                "M_THREEPID_NOT_FOUND",
                "This server knows of no such e-mail address of yours, and sends no e-mail",
                400,
            )
        if wanted.kind != "http":
            raise invalid_param(f'The kind of a pusher is "http", "email" or null, not {wanted.kind[:60]!r}')
        texts = {**required, "profile_tag": wanted.profile_tag}
        for name, text in texts.items():
            if isinstance(text, str) and not (len(text) <= MAX_TEXT_CHARACTERS and is_storable(text)):
                raise invalid_param(
                    f"{name} has at most {MAX_TEXT_CHARACTERS} characters, and none of them NUL"
                )
        return Pusher(
            requester.user_id,
            wanted.app_id,
            wanted.pushkey,
            wanted.kind,
            wanted.app_display_name or "",
            wanted.device_display_name or "",
            wanted.profile_tag,
            wanted.lang or "",
            _checked_data(wanted.data or {}),
            requester.device_id,
            self._clock(),
        )


def _check_name(app_id: str, pushkey: str) -> None:
    """Raises M_INVALID_PARAM."""
    if not (app_id and len(app_id) <= MAX_APP_ID_CHARACTERS and is_storable(app_id)):
        raise invalid_param(f"app_id has 1 to {MAX_APP_ID_CHARACTERS} characters, and none of them NUL")
    if not (pushkey and len(pushkey.encode()) <= MAX_PUSHKEY_BYTES and is_storable(pushkey)):
        raise invalid_param(f"pushkey has 1 to {MAX_PUSHKEY_BYTES} bytes, and none of them NUL")


def _checked_data(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises M_MISSING_PARAM, M_INVALID_PARAM, M_BAD_JSON."""
    if "url" not in data:
        raise missing_param("data.url is missing: where to push to")
    if not is_gateway_url(data["url"]):
        raise invalid_param(f"data.url is an https URL with the path {NOTIFY_PATH}")
    if not isinstance(data.get("format", ""), str):
        raise invalid_param("data.format is a string")
    try:
        encoded = encode_canonical(data)
    except CanonicalJSONError as error:
        raise bad_json(f"data: {error.reason}") from error
    if len(encoded) > MAX_DATA_BYTES or b"\\u0000" in encoded:
        raise invalid_param(f"data has at most {MAX_DATA_BYTES} bytes, and no NUL in it")
    return data


def _body(pusher: Pusher) -> dict[str, Any]:
    body = {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "kind": pusher.kind,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "lang": pusher.lang,
        "data": pusher.data,
    }
    return body if pusher.profile_tag is None else {**body, "profile_tag": pusher.profile_tag}
