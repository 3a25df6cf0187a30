"""The accounts of our users: making them, finding them, checking their passwords."""

from __future__ import annotations

from homeserver.core.errors import (
    forbidden,
    invalid_param,
    invalid_username,
    user_deactivated,
    user_in_use,
)
from homeserver.core.identifiers import localpart_of, new_user_id
from homeserver.services.clock import Clock
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import DISPLAYNAME, encode_field
from homeserver.storage import accounts, profiles
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction, Work

MAX_PASSWORD_LENGTH = 512


class Accounts:
    """Accounts on this server."""

    def __init__(self, database: Database, passwords: Passwords, server_name: str, now_ms: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._server_name = server_name
        self._now_ms = now_ms

    def user_id_for(self, username: str) -> str:
        """The user ID that a new user with this name would get: capital letters become small.

        Raises M_INVALID_USERNAME.

        Spec: https://spec.matrix.org/v1.19/appendices/#user-identifiers
        """
        try:
            return new_user_id(username.lower(), self._server_name)
        except ValueError as error:
            raise invalid_username(f"Invalid username: {error}") from error

    def user_id_of(self, user: str) -> str | None:
        """The user ID that a person means who gives a user ID or only its localpart; None if it cannot be
        ours.
        """
        localpart, colon, server = user.removeprefix("@").partition(":")
        if colon and server != self._server_name:
            return None
        try:
            return new_user_id(localpart.lower(), self._server_name)
        except ValueError:
            return None

    async def check_available(self, username: str) -> str:
        """The user ID that the name would get. Raises M_INVALID_USERNAME, M_USER_IN_USE."""
        user_id = self.user_id_for(username)
        if await self.get(user_id) is not None:
            raise user_in_use("Desired user ID is already taken.")
        return user_id

    async def create(
        self,
        username: str,
        password: str | None,
        *,
        is_admin: bool = False,
        is_guest: bool = False,
        user_type: str | None = None,
        display_name: str | None = None,
        also: Work[None] | None = None,
    ) -> str:
        """Make an account; returns its user ID. With no password nobody can log in with one.

        display_name: the localpart when it is None, as with Synapse; no name at all when it is empty. also: what is done in the
        same unit of work; what it raises leaves no account. Raises M_INVALID_USERNAME, M_USER_IN_USE, M_INVALID_PARAM for a
        password or a display name that cannot be one, M_BAD_JSON for a display name that is no Unicode.
        """
        user_id = self.user_id_for(username)
        name = localpart_of(user_id) if display_name is None else display_name
        encoded_name = encode_field(DISPLAYNAME, name)
        password_hash = None
        if password is not None:
            check_password_form(password)
            password_hash = await self._passwords.hash(password)
        account = Account(
            user_id=user_id,
            password_hash=password_hash,
            is_admin=is_admin,
            is_guest=is_guest,
            is_deactivated=False,
            user_type=user_type,
            created_ts=self._now_ms(),
        )

        async def work(tx: Transaction) -> None:
            if not await accounts.add(tx, account):
                raise user_in_use("Desired user ID is already taken.")
            if name:
                await profiles.set_field(tx, user_id, DISPLAYNAME, encoded_name)
            if also is not None:
                await also(tx)

        await self._database.write(work)
        return user_id

    async def end_guest(self, user_id: str, password: str, also: Work[None] | None = None) -> None:
        """Make a guest a user like others. also: as for `create`. Raises M_FORBIDDEN when the user is no guest."""
        check_password_form(password)
        password_hash = await self._passwords.hash(password)

        async def work(tx: Transaction) -> None:
            if not await accounts.end_guest(tx, user_id, password_hash):
                raise forbidden("This account is not a guest's")
            if also is not None:
                await also(tx)

        await self._database.write(work)

    async def get(self, user_id: str) -> Account | None:
        """The account of a user ID, deactivated ones too."""
        return await self._database.read(lambda tx: accounts.get(tx, user_id))

    async def check_password(self, user: str, password: str) -> Account:
        """The account whose user ID or localpart is `user`, if this is its password.

        Raises M_FORBIDDEN, the same for an unknown user and a wrong password; M_USER_DEACTIVATED, whatever the password.
        """
        user_id = self.user_id_of(user)
        account = None if user_id is None else await self.get(user_id)
        password_hash = None if account is None else account.password_hash
        matches = await self._passwords.verify(password_hash, password)
        if account is not None and account.is_deactivated:
            # It has no password any more that could be asked for first.
            raise user_deactivated()
        if account is None or password_hash is None or not matches:
            raise forbidden("Invalid username or password")
        if self._passwords.needs_rehash(password_hash):
            await self._store_password(account.user_id, password)
        return account

    async def set_password(self, user_id: str, password: str, also: Work[None] | None = None) -> None:
        """Give an account another password. also: as for `create`. Raises M_INVALID_PARAM for one that cannot be a password."""
        check_password_form(password)
        await self._store_password(user_id, password, also)

    async def _store_password(self, user_id: str, password: str, also: Work[None] | None = None) -> None:
        password_hash = await self._passwords.hash(password)

        async def work(tx: Transaction) -> None:
            await accounts.set_password_hash(tx, user_id, password_hash)
            if also is not None:
                await also(tx)

        await self._database.write(work)


def check_password_form(password: str) -> None:
    """Raises M_INVALID_PARAM unless this can be a password."""
    if not password:
        raise invalid_param("The password must not be empty")
    if len(password) > MAX_PASSWORD_LENGTH:
        raise invalid_param(f"The password must not be longer than {MAX_PASSWORD_LENGTH} characters")
