"""The `summary` of a room: how many members it has, and a few of them to name it after.

Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_roomsummary
"""

from dataclasses import dataclass
from typing import Any

from homeserver.core.events import StateKey
from homeserver.core.state_map import Digest
from homeserver.services.sync.request import Reader
from homeserver.storage import memberships

HEROES = 5
NAME: StateKey = ("m.room.name", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")


@dataclass(frozen=True, slots=True)
class Summary:
    """heroes: user IDs; None when the room has a name of its own."""

    heroes: list[str] | None
    joined: int
    invited: int

    def body(self) -> dict[str, Any]:
        """The JSON form."""
        body: dict[str, Any] = {"m.joined_member_count": self.joined, "m.invited_member_count": self.invited}
        if self.heroes is not None:
            body["m.heroes"] = self.heroes
        return body


async def summary(reader: Reader, room_nid: int, root: Digest) -> Summary:
    """The summary of a room with this current state."""
    counts = (await memberships.counts(reader.tx, [room_nid]))[room_nid]
    naming = await reader.states.events(reader.tx, root, [NAME, ALIAS])
    has_name = NAME in naming and bool(naming[NAME].content.get("name"))
    has_alias = ALIAS in naming and bool(naming[ALIAS].content.get("alias"))
    heroes = None
    if not has_name and not has_alias:
        members = await memberships.first(
            reader.tx, room_nid, ("join", "invite"), but=reader.user_id, limit=HEROES
        ) or await memberships.first(reader.tx, room_nid, ("leave", "ban"), but=reader.user_id, limit=HEROES)
        heroes = [member.user_id for member in members]
    return Summary(heroes, counts.get("join", 0), counts.get("invite", 0))
