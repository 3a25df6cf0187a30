"""What stands around the results of a search.

Runs inside a unit of work: it awaits nothing but `tx`.
Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.core.filters import RoomEventFilter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import place_token
from homeserver.services.client_events import ClientEvents
from homeserver.services.event_access import Access, SeenEvent
from homeserver.services.history_walk import HistoryWalker, place_beside
from homeserver.services.room_state import RoomStates
from homeserver.storage.database import Transaction

MEMBER = "m.room.member"
MAX_AROUND = 50
"""Events on either side of a result."""

_EVERYTHING = RoomEventFilter()


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """How many events before and after each result, and whether with the profiles of those who sent them."""

    before_limit: int = 5
    after_limit: int = 5
    include_profile: bool = False


@dataclass(frozen=True, slots=True)
class ResultContexts:
    """Reads the contexts of results for one user. ignored: the users whom the user ignores."""

    tx: Transaction
    states: RoomStates
    events: ClientEvents
    requester: Requester
    wanted: ContextRequest
    ignored: Collection[str]

    async def around(self, seen: SeenEvent, may: Access) -> dict[str, Any]:
        """The `context` of a result; the events before it stand newest first, as those of /context do."""
        stored = seen.stored
        walker = HistoryWalker(self.tx, self.states, self.requester.user_id, may, _EVERYTHING, self.ignored)
        most = min(self.wanted.before_limit, MAX_AROUND), min(self.wanted.after_limit, MAX_AROUND)
        before = await walker.walk(place_beside(stored, backwards=True), None, most[0], backwards=True)
        after = await walker.walk(place_beside(stored, backwards=False), None, most[1], backwards=False)
        around = [*before.events, *after.events]
        rendered = await self.events.render_bundled(self.tx, self.requester, around)
        context: dict[str, Any] = {
            "start": place_token(before.place),
            "end": place_token(after.place),
            "events_before": rendered[: len(before.events)],
            "events_after": rendered[len(before.events) :],
        }
        if self.wanted.include_profile:
            context["profile_info"] = await self._profiles(seen, around)
        return context

    async def _profiles(self, seen: SeenEvent, around: Sequence[SeenEvent]) -> dict[str, dict[str, str]]:
        """The profiles of the senders as they were in the room at the result."""
        root = seen.stored.state_after
        if root is None:
            return {}
        senders = dict.fromkeys(each.stored.event.sender for each in (seen, *around))
        members = await self.states.events(self.tx, root, [(MEMBER, sender) for sender in senders])
        return {
            user_id: {
                name: event.content[name]
                for name in ("displayname", "avatar_url")
                if isinstance(event.content.get(name), str)
            }
            for (_, user_id), event in members.items()
        }
