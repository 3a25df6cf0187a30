"""Events in the form in which clients get them.

What does not depend on the reader is serialised once and kept as bytes; only `unsigned` is made for each reader.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from homeserver.core.event_fields import pick
from homeserver.core.events import Event, client_event
from homeserver.core.requester import Requester
from homeserver.services.bundled_aggregations import bundle
from homeserver.services.clock import Clock
from homeserver.services.event_access import SeenEvent, visible_in_rooms
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage.database import Transaction
from homeserver.storage.events import StoredEvent

EVENTS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class EventForm:
    """How a reader wants events. is_federation: as servers send them to each other. fields: paths of the properties wanted."""

    with_room_id: bool = True
    is_federation: bool = False
    fields: tuple[str, ...] | None = None


DEFAULT_FORM = EventForm()
NOTHING: Mapping[str, Mapping[str, Any]] = {}


class ClientEvents:
    """Renders events for clients. Safe to use from several threads.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#room-event-format
    """

    def __init__(self, states: RoomStates, clock: Clock) -> None:
        """`clock` gives `unsigned.age`."""
        self._states = states
        self._clock = clock
        self._rendered: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    async def render(
        self,
        tx: Transaction,
        requester: Requester,
        events: Sequence[SeenEvent],
        form: EventForm = DEFAULT_FORM,
        *,
        relations: Mapping[str, Mapping[str, Any]] = NOTHING,
    ) -> list[msgspec.Raw]:
        """The events as JSON for one reader, each with its `unsigned`; /sync leaves out `room_id`.

        relations: by event ID what stands in `unsigned` as `m.relations`, see `render_bundled`.
        """
        unsigned = await self._unsigned(tx, requester, events, with_room_id=form.with_room_id)
        for event_id, bundled in relations.items():
            unsigned[event_id]["m.relations"] = bundled
        shown = [(seen.stored.event, unsigned[seen.stored.event.event_id]) for seen in events]
        if form.is_federation or form.fields is not None:
            return [_in_form(event, beside, form) for event, beside in shown]
        return [self.splice(event, beside, with_room_id=form.with_room_id) for event, beside in shown]

    async def render_bundled(
        self,
        tx: Transaction,
        requester: Requester,
        events: Sequence[SeenEvent],
        form: EventForm = DEFAULT_FORM,
    ) -> list[msgspec.Raw]:
        """The same with what their child events come to: for the endpoints where the specification wants that.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
        """
        render = partial(self.render, tx, requester, form=form)
        relations = await bundle(
            tx, self._states, requester.user_id, [seen.stored for seen in events], render
        )
        return await render(events, relations=relations)

    async def state(self, tx: Transaction, events: Collection[Event]) -> list[msgspec.Raw]:
        """State events as JSON, as the lists of a room's state have them: in `unsigned` is what redacted them, and nothing that
        depends on the reader."""
        redactions = await stored_events.redactions_of(tx, [event.event_id for event in events])
        return [self.splice(event, self._unsigned_state(event, redactions)) for event in events]

    def _unsigned_state(self, event: Event, redactions: Mapping[str, Event]) -> dict[str, Any]:
        unsigned: dict[str, Any] = {"age": self._age(event)}
        if event.event_id in redactions:
            unsigned["redacted_because"] = self.splice(redactions[event.event_id])
        return unsigned

    def splice(
        self, event: Event, unsigned: Mapping[str, Any] | None = None, *, with_room_id: bool = True
    ) -> msgspec.Raw:
        """One event as JSON, with its age or an `unsigned` made elsewhere."""
        body = self._without_unsigned(event)
        tail = b""
        if with_room_id:
            tail += b',"room_id":' + msgspec.json.encode(event.room_id)
        beside = {"age": self._age(event)} if unsigned is None else unsigned
        return msgspec.Raw(body + tail + b',"unsigned":' + encode(beside) + b"}")

    def _age(self, event: Event) -> int:
        return max(0, self._clock() - event.origin_server_ts)

    def _without_unsigned(self, event: Event) -> bytes:
        """The event without `room_id` and `unsigned`, and without its closing brace."""
        # An event has one ID and two forms, of which the redacted one is shorter.
        key = (event.event_id, len(event.canonical))
        with self._lock:
            kept = self._rendered.get(key)
            if kept is not None:
                self._rendered.move_to_end(key)
                return kept
        body = encode(client_event(event, with_room_id=False))[:-1]
        with self._lock:
            self._rendered[key] = body
            if len(self._rendered) > EVENTS_KEPT:
                self._rendered.popitem(last=False)
        return body

    async def _unsigned(
        self, tx: Transaction, requester: Requester, events: Sequence[SeenEvent], *, with_room_id: bool
    ) -> dict[str, dict[str, Any]]:
        """`unsigned` of each event, by event ID: what only this reader is told, and what is found beside the event."""
        ids = [seen.stored.event.event_id for seen in events]
        sent = await stored_events.transaction_ids(tx, requester.user_id, requester.transaction_scope, ids)
        replaced = await self._replaced(tx, [seen.stored for seen in events])
        redactions = {seen.stored.redacted_by for seen in events if seen.stored.redacted_by}
        beside = await stored_events.get_many(tx, [*replaced.values(), *redactions])
        hidden = await self._hidden(tx, requester.user_id, events, replaced, beside)
        found: dict[str, dict[str, Any]] = {}
        for seen in events:
            event = seen.stored.event
            unsigned: dict[str, Any] = {"age": self._age(event)}
            if seen.membership is not None:
                unsigned["membership"] = seen.membership
            if event.event_id in sent:
                unsigned["transaction_id"] = sent[event.event_id]
            previous = beside.get(replaced.get(event.event_id, ""))
            if previous is not None:
                unsigned["replaces_state"] = previous.event.event_id
                if previous.event.event_id not in hidden:
                    unsigned["prev_content"] = previous.event.content
                    unsigned["prev_sender"] = previous.event.sender
            redaction = beside.get(seen.stored.redacted_by or "")
            if redaction is not None:
                unsigned["redacted_because"] = self.splice(redaction.event, with_room_id=with_room_id)
            found[event.event_id] = unsigned
        return found

    async def _hidden(
        self,
        tx: Transaction,
        user_id: str,
        events: Sequence[SeenEvent],
        replaced: Mapping[str, str],
        beside: Mapping[str, StoredEvent],
    ) -> set[str]:
        """Those of the replaced state events that the user may not see. Members could read the state that they were in."""
        doubtful = {
            replaced[seen.stored.event.event_id]
            for seen in events
            if seen.membership not in (None, "join") and seen.stored.event.event_id in replaced
        }
        previous = [beside[event_id] for event_id in doubtful & beside.keys()]
        shown = await visible_in_rooms(tx, self._states, user_id, previous)
        return doubtful - {seen.stored.event.event_id for seen in shown}

    async def _replaced(self, tx: Transaction, events: Sequence[StoredEvent]) -> dict[str, str]:
        """For each state event the ID of the event that it replaced in the room's state."""
        replaced = {}
        for stored in events:
            if stored.event.is_state and stored.state_before is not None:
                before = await self._states.ids(tx, stored.state_before, [stored.event.key])
                if stored.event.key in before:
                    replaced[stored.event.event_id] = before[stored.event.key]
        return replaced


def _in_form(event: Event, unsigned: Mapping[str, Any], form: EventForm) -> msgspec.Raw:
    """An event in the form that a filter asks for; few do."""
    if form.is_federation:
        whole = {**event.pdu, "unsigned": unsigned}
    else:
        whole = client_event(event, with_room_id=form.with_room_id, unsigned=unsigned)
    return msgspec.Raw(encode(whole if form.fields is None else pick(whole, form.fields)))


def encode(value: Any) -> bytes:
    """JSON bytes, also of the integers beyond 64 bits that room versions 1 to 5 allow."""
    try:
        return msgspec.json.encode(value)
    except OverflowError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_decoded).encode()


def _decoded(raw: msgspec.Raw) -> Any:
    """What stands in a value as JSON already."""
    return json.loads(bytes(raw))
