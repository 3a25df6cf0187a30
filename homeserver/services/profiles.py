"""Profiles: ours from the database, those of others from their servers.

Spec: https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any, Protocol

from homeserver.core.canonical_json import CanonicalJSONError, encode_canonical
from homeserver.core.errors import (
    MatrixError,
    bad_json,
    forbidden,
    guest_access_forbidden,
    invalid_param,
    missing_param,
    not_found,
)
from homeserver.core.identifiers import domain_of, is_valid_mxc, is_valid_user_id
from homeserver.core.requester import Requester
from homeserver.services.member_profiles import MEMBER_FIELDS
from homeserver.storage import accounts, profile_propagations, profiles, user_directory
from homeserver.storage.database import Database, Transaction

DISPLAYNAME = "displayname"
AVATAR_URL = "avatar_url"

MAX_KEY_BYTES = 255
MAX_PROFILE_BYTES = 64 * 1024
# Display names and avatars are copied into the member event of every room.
MAX_DISPLAYNAME_LENGTH = 256
MAX_AVATAR_URL_LENGTH = 1000

_KEY = re.compile(r"avatar_url|displayname|m\.tz|[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+")


class ProfileListener(Protocol):
    """Told, after it is stored, that a user's `displayname` or `avatar_url` has changed: somebody tells the user's
    rooms.
    """

    def __call__(self, user_id: str, /) -> Awaitable[None]: ...


class RemoteProfiles(Protocol):
    """Asks another server for a profile, or one field of it; answers the fields. Raises M_NOT_FOUND and the
    like.
    """

    def __call__(self, user_id: str, field: str | None, /) -> Awaitable[dict[str, Any]]: ...


class Profiles:
    """Reads and changes profiles."""

    def __init__(
        self,
        database: Database,
        server_name: str,
        *,
        on_change: ProfileListener | None = None,
        remote: RemoteProfiles | None = None,
    ) -> None:
        self._database = database
        self._server_name = server_name
        self._on_change = on_change
        self._remote = remote

    async def get(self, user_id: str) -> dict[str, Any]:
        """The whole profile of any user. Raises M_NOT_FOUND, M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
        """
        if self._is_local(user_id):
            return await self.get_local(user_id)
        return await self._ask(user_id, None)

    async def get_field(self, user_id: str, name: str) -> Any:
        """One field of a profile. Raises M_NOT_FOUND when the user or the field does not exist,
        M_INVALID_PARAM.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
        """
        check_key(name)
        fields = await self.get_local(user_id) if self._is_local(user_id) else await self._ask(user_id, name)
        if name not in fields:
            raise not_found("There is no such field in this profile")
        return fields[name]

    async def get_local(self, user_id: str) -> dict[str, Any]:
        """The profile of a user of ours. Raises M_NOT_FOUND when there is no such user, or none any more."""

        async def work(tx: Transaction) -> dict[str, Any] | None:
            account = await accounts.get(tx, user_id)
            if account is None or account.is_deactivated:
                return None
            return await profiles.get(tx, user_id)

        profile = await self._database.read(work)
        if profile is None:
            raise not_found("Profile not found")
        return profile

    async def set_field(self, requester: Requester, user_id: str, name: str, body: dict[str, Any]) -> None:
        """Set one field of the requester's profile to what `body` has under its name.

        An empty display name or avatar removes the field, as clients expect. Raises M_FORBIDDEN,
        M_GUEST_ACCESS_FORBIDDEN, M_INVALID_PARAM, M_KEY_TOO_LARGE, M_MISSING_PARAM, M_BAD_JSON,
        M_PROFILE_TOO_LARGE.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
        """
        self._check_may_change(requester, user_id, name)
        if name not in body:
            raise missing_param(f"The body must have the key {name}")
        value = body[name]
        encoded = encode_field(name, value)
        if name in (DISPLAYNAME, AVATAR_URL) and value == "":
            await self._remove(user_id, name)
            return

        async def work(tx: Transaction) -> bool:
            profile = await profiles.get(tx, user_id)
            if name in profile and encode_canonical(profile[name]) == encoded:
                return False
            profile[name] = value
            # "the total profile MUST be under 64 KiB"
            if len(encode_canonical(profile)) >= MAX_PROFILE_BYTES:
                raise MatrixError("M_PROFILE_TOO_LARGE", "The profile would be larger than 64 KiB", 400)
            await profiles.set_field(tx, user_id, name, encoded)
            await _mark_changed(tx, user_id, name)
            return True

        if await self._database.write(work):
            await self._changed(user_id, name)

    async def delete_field(self, requester: Requester, user_id: str, name: str) -> None:
        """Remove one field of the requester's profile; it need not be there.

        Raises M_FORBIDDEN, M_GUEST_ACCESS_FORBIDDEN, M_INVALID_PARAM, M_KEY_TOO_LARGE.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
        """
        self._check_may_change(requester, user_id, name)
        await self._remove(user_id, name)

    async def _remove(self, user_id: str, name: str) -> None:
        async def work(tx: Transaction) -> bool:
            is_gone = await profiles.remove_field(tx, user_id, name)
            if is_gone:
                await _mark_changed(tx, user_id, name)
            return is_gone

        if await self._database.write(work):
            await self._changed(user_id, name)

    async def _changed(self, user_id: str, name: str) -> None:
        if self._on_change is not None and name in MEMBER_FIELDS:
            await self._on_change(user_id)

    def _is_local(self, user_id: str) -> bool:
        if not is_valid_user_id(user_id):
            raise invalid_param(f"{user_id[:300]!r} is not a user ID")
        return domain_of(user_id) == self._server_name

    async def _ask(self, user_id: str, name: str | None) -> dict[str, Any]:
        if self._remote is None:
            raise not_found("Profile not found")
        return _believed(await self._remote(user_id, name))

    @staticmethod
    def _check_may_change(requester: Requester, user_id: str, name: str) -> None:
        check_key(name)
        if requester.user_id != user_id:
            raise forbidden("The profile of another user cannot be changed")
        # "Guest users may only modify their display name; other profile fields may not be changed."
        if requester.is_guest and name != DISPLAYNAME:
            raise guest_access_forbidden("Guests can only change their display name")


async def _mark_changed(tx: Transaction, user_id: str, name: str) -> None:
    """Have the user's rooms told of it, and the user be found by it."""
    if name in MEMBER_FIELDS:
        await profile_propagations.begin(tx, user_id)
        await user_directory.users_changed(tx, [user_id])


def check_key(name: str) -> None:
    """Raises M_KEY_TOO_LARGE, M_INVALID_PARAM unless this can be the name of a profile field."""
    if len(name.encode()) > MAX_KEY_BYTES:
        raise MatrixError("M_KEY_TOO_LARGE", f"The name of a field has at most {MAX_KEY_BYTES} bytes", 400)
    if _KEY.fullmatch(name) is None:
        raise invalid_param("Invalid profile key: neither displayname, avatar_url, m.tz nor namespaced")


def encode_field(name: str, value: Any) -> bytes:
    """The JSON of a value for the field of this name. Raises M_BAD_JSON, M_INVALID_PARAM when the field cannot have it."""
    _check_value(name, value)
    try:
        return encode_canonical(value)
    except CanonicalJSONError as error:
        raise bad_json(f"The value cannot be stored: {error.reason}") from error


def _check_value(name: str, value: Any) -> None:
    if name not in (DISPLAYNAME, AVATAR_URL, "m.tz"):
        return
    if not isinstance(value, str):
        raise bad_json(f"Expected `str` - at `$.{name}`")
    if name == DISPLAYNAME and len(value) > MAX_DISPLAYNAME_LENGTH:
        raise invalid_param(f"The display name must not be longer than {MAX_DISPLAYNAME_LENGTH} characters")
    if name == AVATAR_URL and value and (len(value) > MAX_AVATAR_URL_LENGTH or not is_valid_mxc(value)):
        raise invalid_param("avatar_url must be an mxc:// URI")


def _believed(told: dict[str, Any]) -> dict[str, Any]:
    """What another server tells of a profile, as far as it can be one: of more than 64 KiB only the first fields."""
    fields: dict[str, Any] = {}
    size = 2
    for name, value in told.items():
        try:
            check_key(name)
            _check_value(name, value)
            size += len(encode_canonical({name: value}))
        except (MatrixError, CanonicalJSONError):
            continue
        if size > MAX_PROFILE_BYTES:
            break
        fields[name] = value
    return fields
