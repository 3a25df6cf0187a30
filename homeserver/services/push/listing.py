"""The list of what a user has been notified of.

Spec: https://spec.matrix.org/v1.19/client-server-api/#listing-notifications
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from homeserver.core.errors import invalid_param
from homeserver.core.requester import Requester
from homeserver.services.client_events import ClientEvents, EventForm
from homeserver.services.event_access import SeenEvent
from homeserver.services.ignored_users import ignored_users
from homeserver.storage import events as stored_events
from homeserver.storage import notifications, out_of_room, positions
from homeserver.storage.database import Database, Transaction
from homeserver.storage.notifications import NO_ROOM, Notification

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MAX_TOKEN: Final = 2**62
WITHOUT_ROOM_ID: Final = EventForm(with_room_id=False)


class NotificationList:
    """Pages through notifications."""

    def __init__(self, database: Database, events: ClientEvents) -> None:
        """`events` brings events in the form for clients."""
        self._database = database
        self._events = events

    async def page(
        self, requester: Requester, start: str | None, limit: int, only: str | None
    ) -> dict[str, Any]:
        """Notifications, the newest first, from a `next_token` on. only: `highlight` for those that are highlighted.

        Raises M_INVALID_PARAM for a token that is none and a limit below 1. An `only` that nobody knows filters nothing.
        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
        """
        if limit < 1:
            raise invalid_param("limit must be 1 or more")
        limit = min(limit, MAX_LIMIT)
        before = None if start is None else _position(start)

        async def work(tx: Transaction) -> dict[str, Any]:
            end = await positions.current(tx) + 1 if before is None else before
            found = await notifications.of_user(
                tx, requester.user_id, before=end, limit=limit + 1, highlights=only == "highlight"
            )
            shown = found[:limit]
            body: dict[str, Any] = {"notifications": await self._bodies(tx, requester, shown)}
            if len(found) > limit:
                body["next_token"] = str(shown[-1].position)
            return body

        return await self._database.read(work)

    async def _bodies(
        self, tx: Transaction, requester: Requester, shown: Sequence[Notification]
    ) -> list[dict[str, Any]]:
        """The JSON forms of those whose event is still there."""
        stored = await stored_events.by_nids(
            tx, [each.event_nid for each in shown if each.room_nid != NO_ROOM]
        )
        ignored = await ignored_users(tx, requester.user_id)
        listed = [
            (each, stored[each.event_nid])
            for each in shown
            if each.event_nid in stored and stored[each.event_nid].event.sender not in ignored
        ]
        seen = [SeenEvent(event, None) for _, event in listed]
        rendered = await self._events.render(tx, requester, seen, WITHOUT_ROOM_ID)
        by_position = {
            each.position: _body(each, event.event.room_id, raw)
            for (each, event), raw in zip(listed, rendered, strict=True)
        }
        if any(each.room_nid == NO_ROOM for each in shown):
            invites = {each.position: each for each in await out_of_room.of_user(tx, requester.user_id)}
            for each in shown:
                if each.room_nid == NO_ROOM and each.position in invites:
                    event = invites[each.position].event
                    raw = self._events.splice(event, with_room_id=False)
                    by_position[each.position] = _body(each, event.room_id, raw)
        return [by_position[each.position] for each in shown if each.position in by_position]


def _body(notification: Notification, room_id: str, event: msgspec.Raw) -> dict[str, Any]:
    return {
        "actions": json.loads(notification.actions),
        "event": event,
        "read": notification.is_read,
        "room_id": room_id,
        "ts": notification.ts,
    }


def _position(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) < 20 and int(token) < MAX_TOKEN):
        raise invalid_param("from is a next_token of an earlier answer")
    return int(token)
