"""What of a user's profile goes into the user's member events."""

from typing import Any

from homeserver.storage import profiles
from homeserver.storage.database import Database

MEMBER_FIELDS = ("displayname", "avatar_url")


class MemberProfiles:
    """Gives the profile fields that are copied into m.room.member.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
    """

    def __init__(self, database: Database) -> None:
        """Profiles are those of our users."""
        self._database = database

    async def fields(self, user_id: str) -> dict[str, Any]:
        """`displayname` and `avatar_url`, as far as the user has them."""
        profile = await self._database.read(lambda tx: profiles.get(tx, user_id))
        return {name: profile[name] for name in MEMBER_FIELDS if name in profile}
