"""Decides whom new events notify, in the unit of work that stores them: so /sync shows an event together with its count.

"When receiving a new event homeservers process push rules for each of the local users in the room (excluding the sender)."
Spec: https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-12
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from homeserver.core.events import client_event
from homeserver.core.push_rules import Decided, PushContext, decide, outcome
from homeserver.core.push_rules.rules import Action
from homeserver.core.receipts import MAIN
from homeserver.services.clock import Clock
from homeserver.services.notifier import Arrival, Committed
from homeserver.services.push.audience import Audience, Audiences
from homeserver.services.push.preferences import Preference, Preferences
from homeserver.services.room_state import RoomStates
from homeserver.services.threads import thread_of
from homeserver.storage import notifications
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.notifications import NO_ROOM, Notifying, Own
from homeserver.storage.rooms import Room

INVITES_KEPT = 100
"""Of a user, to rooms that we are not in."""

NOTHING: Sequence[Action] = ()
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Told:
    """Who has more unread notifications, and who has fewer."""

    notified: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()


class Evaluation:
    """Stores what new events notify of."""

    def __init__(self, states: RoomStates, server_name: str, clock: Clock) -> None:
        """`server_name` is ours."""
        self._server_name = server_name
        self._clock = clock
        self._preferences = Preferences()
        self._audiences = Audiences(states, server_name)

    async def follow(self, tx: Transaction, committed: Committed) -> Committed:
        """Store the notifications of what has come; returns what is committed with them."""
        notified, read = set(committed.notified), set(committed.read)
        for arrival in committed.arrivals:
            if not arrival.events:
                continue
            if arrival.room is None:
                notified |= await self._invited_from_outside(tx, arrival)
                continue
            # An invite that is answered is one less, and so are the notifications of a room that is left.
            read |= committed.users
            told = await self._follow_in(tx, arrival.room, arrival)
            notified |= told.notified
            read |= told.read
        return replace(committed, notified=frozenset(notified), read=frozenset(read))

    async def _follow_in(self, tx: Transaction, room: Room, arrival: Arrival) -> _Told:
        audience = await self._audiences.of(tx, room, arrival.before, arrival.state)
        invited = frozenset(user_id for each in arrival.events if (user_id := self._invited(each)))
        concerned = audience.members | invited if invited - audience.members else audience.members
        if not concerned:
            return _Told()
        preferences = await self._preferences.changed(tx, concerned, _settled(arrival))
        general: list[Notifying] = []
        own: list[Own] = []
        notified: set[str] = set()
        threads = {each.nid: await thread_of(tx, each) for each in arrival.events}
        for each in arrival.events:
            decided = await self._decided(tx, each, arrival, audience, preferences)
            template = self._notifying(each, threads[each.nid])
            rows = _rows(template, decided, audience.members)
            general += rows.general
            own += rows.own
            notified |= rows.notified
        if general or own:
            await notifications.add(tx, general, own)
        return _Told(frozenset(notified), await self._mark_own(tx, arrival, threads))

    async def _decided(
        self,
        tx: Transaction,
        stored: StoredEvent,
        arrival: Arrival,
        audience: Audience,
        preferences: Mapping[str, Preference],
    ) -> Decided:
        """What an event comes to. `others` has all for whom it is not as usual, and the sender for whom it is nothing."""
        event = stored.event
        invited = self._invited(stored)
        asking = [user_id for user_id, each in preferences.items() if each.asks_for_name]
        names = await self._audiences.names(tx, audience, arrival.state, asking) if asking else {}
        changed = {user_id: each.rules for user_id, each in preferences.items() if each.rules is not None}
        members = audience.members | {invited} if invited else audience.members
        decided = decide(client_event(event), members, changed, audience.context, names)
        others = {
            user_id: actions
            for user_id, actions in decided.others.items()
            if user_id in audience.members or user_id == invited
        }
        # Whom a user ignores does not notify the user, though events of the room's state are shown.
        others |= {user_id: NOTHING for user_id, each in preferences.items() if event.sender in each.ignored}
        if event.sender in audience.members:
            others[event.sender] = NOTHING
        if invited and arrival.room and await self._is_known_invite(tx, stored, invited):
            others[invited] = NOTHING
        return Decided(decided.usual, others)

    async def _is_known_invite(self, tx: Transaction, stored: StoredEvent, user_id: str) -> bool:
        """Whether the user was notified of an invite when its server asked us to sign it."""
        event = stored.event
        return await notifications.take_over_invite(
            tx, user_id, stored.room_nid, stored.nid, room_id=event.room_id, event_id=event.event_id
        )

    async def _invited_from_outside(self, tx: Transaction, arrival: Arrival) -> frozenset[str]:
        """An invite to a room that we are not in: what would be asked about the room is not known."""
        (stored,) = arrival.events
        user_id = self._invited(stored)
        if user_id is None:
            return NOBODY
        only = Audience(frozenset({user_id}), PushContext(0), {user_id: None})
        preferences = await self._preferences.changed(tx, only.members, _settled(arrival))
        decided = await self._decided(tx, stored, arrival, only, preferences)
        rows = _rows(self._notifying(replace(stored, room_nid=NO_ROOM), MAIN), decided, NOBODY)
        await notifications.add(tx, [], rows.own)
        await notifications.forget_old_invites(tx, user_id, INVITES_KEPT)
        return rows.notified

    def _notifying(self, stored: StoredEvent, thread_id: str) -> Notifying:
        event = stored.event
        is_call = event.type == "m.call.invite"
        return Notifying(
            stored.room_nid,
            stored.position or 0,
            stored.nid,
            thread_id,
            event.sender,
            False,
            is_call,
            "[]",
            self._clock(),
        )

    def _invited(self, stored: StoredEvent) -> str | None:
        """Our user whom the event invites."""
        user_id = stored.event.state_key
        if stored.event.membership != "invite" or user_id is None or not self._is_ours(user_id):
            return None
        return user_id

    def _is_ours(self, user_id: str) -> bool:
        return user_id.partition(":")[2] == self._server_name

    async def _mark_own(
        self, tx: Transaction, arrival: Arrival, threads: Mapping[int, str]
    ) -> frozenset[str]:
        """Whoever sends something into a thread has read it.

        "When the user updates their read receipt (either by using the API or by sending an event), notifications prior to and
        including that event MUST be marked as read." State events are no answer to what was said: a new display name is sent
        into every room.
        """
        newest = {
            (each.event.sender, threads[each.nid]): each
            for each in arrival.events
            if not each.event.is_state and self._is_ours(each.event.sender)
        }
        read = set()
        for (sender, thread_id), stored in newest.items():
            position = stored.position or 0
            if await notifications.mark_read(tx, sender, stored.room_nid, thread_id, position, position):
                read.add(sender)
        return frozenset(read)


def _settled(arrival: Arrival) -> int:
    return min(each.position or 0 for each in arrival.events) - 1


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is stored of an event, and whom it notifies."""

    general: list[Notifying]
    own: list[Own]
    notified: frozenset[str]


def _rows(template: Notifying, decided: Decided, joined: frozenset[str]) -> _Rows:
    """The fewest rows that say what an event is for everyone: what it is for most who are joined, and what else for others.

    The sender needs no row.
    """
    others = joined - {template.sender}
    here = {user_id: actions for user_id, actions in decided.others.items() if user_id in others}
    kinds = {id(actions): actions for actions in here.values()} | {id(decided.usual): decided.usual}
    count = Counter(map(id, here.values()))
    count[id(decided.usual)] += len(others) - len(here)
    count[id(NOTHING)] += 1  # that takes no row
    general = kinds.get(count.most_common(1)[0][0], NOTHING)
    differing = dict(decided.others)
    if general is not decided.usual:
        differing = dict.fromkeys(others, decided.usual) | differing
    own = [
        Own(user_id, _with(template, actions), notifies=bool(actions))
        for user_id, actions in differing.items()
        if user_id != template.sender and not _same(actions, general if user_id in joined else NOTHING)
    ]
    silent = {user_id for user_id, actions in decided.others.items() if not actions}
    loud = decided.others.keys() - silent
    notified = (joined - silent if decided.usual else NOBODY) | loud
    return _Rows([_with(template, general)] if general else [], own, frozenset(notified))


def _same(some: Sequence[Action], others: Sequence[Action]) -> bool:
    return some is others or list(some) == list(others)


def _with(template: Notifying, actions: Sequence[Action]) -> Notifying:
    encoded = json.dumps(list(actions), separators=(",", ":"))
    return replace(template, is_highlight=outcome(actions).highlight, actions=encoded)
