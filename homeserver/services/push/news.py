"""What a pusher is to be told next, read in one unit of work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.config import Push
from homeserver.core.events import Event, StateKey
from homeserver.core.push_gateway import About, Target, badge_notification, event_notification
from homeserver.core.push_rules import outcome
from homeserver.services.ignored_users import unwanted_by
from homeserver.services.room_state import RoomStates
from homeserver.storage import accounts, memberships, notifications, out_of_room, positions, pushers, rooms
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.notifications import NO_ROOM, Notification, Unread
from homeserver.storage.pushers import Pusher, StoredPusher

TOO_OLD_MS = 24 * 3_600_000
"""A notification that could not be pushed for so long is of no use any more."""

AT_ONCE = 50
"""How many notifications are looked at for one that is still to be pushed."""

NAME: StateKey = ("m.room.name", "")
ALIAS: StateKey = ("m.room.canonical_alias", "")


@dataclass(frozen=True, slots=True)
class News:
    """A push. position: what the pusher has been told up to, once it has arrived. body: None when there is nothing to tell."""

    stored: StoredPusher
    position: int
    badge: int
    body: Mapping[str, Any] | None


class PusherNews:
    """Finds what pushers are to be told."""

    def __init__(self, states: RoomStates, settings: Push) -> None:
        self._states = states
        self._settings = settings

    async def next(self, tx: Transaction, pusher_id: int, now_ms: int) -> News | None:
        """What a pusher is to be told next; None when it is gone.

        Notifications that the user has read meanwhile, or that are too old, are passed over.
        """
        stored = await pushers.get(tx, pusher_id)
        if stored is None:
            return None
        user_id, position = stored.pusher.user_id, stored.progress.position
        account = await accounts.get(tx, user_id)
        if account is None or account.is_locked:
            return News(stored, position, stored.progress.badge or 0, None)  # until it is unlocked
        current = await positions.current(tx)
        unread = await self._unread(tx, user_id, current)
        badge = unread.notifications
        while True:
            waiting = await notifications.of_user(
                tx, user_id, after=position, before=current + 1, limit=AT_ONCE, newest_first=False
            )
            for each in waiting:
                position = each.position
                if each.is_read or each.ts < now_ms - TOO_OLD_MS:
                    continue
                if about := await self._about(tx, user_id, each):
                    target, with_content = _target(stored.pusher), self._settings.include_content
                    told = event_notification(
                        target, about, badge, unread.calls, include_content=with_content
                    )
                    return News(stored, position, badge, told)
            if len(waiting) < AT_ONCE:
                break
        is_news = stored.progress.badge not in (None, badge)
        body = badge_notification(_target(stored.pusher), badge, unread.calls) if is_news else None
        return News(stored, current, badge, body)

    async def _unread(self, tx: Transaction, user_id: str, position: int) -> Unread:
        """The numbers that are told: what is unread in all rooms together, and invites."""
        by_room = await notifications.unread(tx, user_id, None, position)
        per_room = [sum(threads.values(), Unread()) for threads in by_room.values()]
        calls = sum(each.calls for each in per_room)
        invites = await self._invites(tx, user_id)
        if self._settings.group_unread_count_by_room:
            return Unread(sum(1 for each in per_room if each.notifications) + invites, 0, calls)
        return Unread(sum(each.notifications for each in per_room) + invites, 0, calls)

    async def _invites(self, tx: Transaction, user_id: str) -> int:
        """How many invites wait for the user's answer."""
        unwanted = await unwanted_by(tx, user_id)
        inside = await memberships.of_user(tx, user_id, ("invite",))
        outside = [each for each in await out_of_room.of_user(tx, user_id) if each.membership == "invite"]
        senders = {each.room_id: each.sender for each in inside}
        senders |= {each.room_id: each.event.sender for each in outside}
        return sum(unwanted.lets_invite(sender) for sender in senders.values())

    async def _about(self, tx: Transaction, user_id: str, notification: Notification) -> About | None:
        """What is told of a notification; None when its event is gone."""
        tweaks = outcome(json.loads(notification.actions)).tweaks
        if notification.room_nid == NO_ROOM:
            return await _about_invite(tx, user_id, notification, tweaks)
        found = await stored_events.by_nids(tx, [notification.event_nid])
        room = (await rooms.by_nids(tx, [notification.room_nid])).get(notification.room_nid)
        stored = found.get(notification.event_nid)
        if stored is None or room is None:
            return None
        event = stored.event
        sender: StateKey = ("m.room.member", event.sender)
        state = await self._states.events(tx, room.current_state, [NAME, ALIAS, sender])
        alias = _text(state.get(ALIAS), "alias")
        return About(
            event,
            tweaks,
            _text(state.get(sender), "displayname"),
            _text(state.get(NAME), "name") or alias,
            alias,
            event.state_key == user_id,
        )


async def _about_invite(
    tx: Transaction, user_id: str, notification: Notification, tweaks: Mapping[str, Any]
) -> About | None:
    """An invite to a room that we are not in: of the room we know what we were told."""
    for record in await out_of_room.of_user(tx, user_id):
        if record.position == notification.position:
            told = {(each["type"], each["state_key"]): each["content"] for each in record.stripped_state}
            name = told.get(NAME, {}).get("name")
            sender = told.get(("m.room.member", record.event.sender), {}).get("displayname")
            alias = told.get(ALIAS, {}).get("alias")
            texts = [each if isinstance(each, str) else None for each in (sender, name, alias)]
            return About(record.event, tweaks, texts[0], texts[1] or texts[2], texts[2], user_is_target=True)
    return None


def _text(event: Event | None, name: str) -> str | None:
    value = event.content.get(name) if event else None
    return value if isinstance(value, str) else None


def _target(pusher: Pusher) -> Target:
    return Target(pusher.app_id, pusher.pushkey, pusher.set_ms // 1000, pusher.data)
