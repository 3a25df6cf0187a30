"""Events: their formats in the room versions, hashes, IDs and size limits.

An `Event` holds its PDU (the federation form) as canonical JSON bytes, which are stored and spliced into
responses as they are. `unsigned` is no part of these bytes: another server's `unsigned` is neither signed nor
to be believed, so it is neither stored nor passed on; `event.unsigned` holds what came with the event for
whoever handles its receipt.

Spec: https://spec.matrix.org/v1.19/server-server-api/#pdus
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64, encode_base64

from homeserver.core.canonical_json import CanonicalJSONError, check_canonical, encode_canonical
from homeserver.core.errors import InvalidEvent
from homeserver.core.event_format import check_event_size, check_pdu, is_create
from homeserver.core.identifiers import domain_of, is_valid_event_id
from homeserver.core.redaction import redact_pdu
from homeserver.core.room_versions import EventIDFormat, RoomRules
from homeserver.core.signing import event_signed_bytes, key_id_of, signature_of, with_signature

StateKey: TypeAlias = tuple[str, str]
"""(type, state_key)"""

EventReference: TypeAlias = str | tuple[str, Mapping[str, str] | None]
"""An entry of `prev_events` or `auth_events`: an event ID, in room versions 1 and 2 with the event's
hashes."""


class Event:
    """A valid event. Immutable; the fields are read from the JSON when the first of them is asked for.

    `rules`: its room version. `event_id`, `room_id`, `type`, `sender`, `content`, `depth`, `origin_server_ts`
    (milliseconds), `hashes`, `signatures`: as in the specification; `room_id` also for the create events of
    room version 12, which have none in their JSON. `state_key` is None for what is not a state event.
    `prev_event_ids`, `auth_event_ids`: the IDs alone, in the PDU's order, whatever the format.
    `redacts`: the event an m.room.redaction redacts, wherever the room version keeps it; None for other
    types, and when it is not an event ID.
    `pdu`: the parsed federation form, never to be changed. `canonical`: its canonical JSON. Both without
    `unsigned`.
    `unsigned`: what came with the event, unchecked; empty once it was stored.
    """

    __slots__ = (
        "auth_event_ids",
        "canonical",
        "content",
        "depth",
        "event_id",
        "hashes",
        "origin_server_ts",
        "pdu",
        "prev_event_ids",
        "redacts",
        "room_id",
        "rules",
        "sender",
        "signatures",
        "state_key",
        "type",
        "unsigned",
    )

    rules: RoomRules
    event_id: str
    canonical: bytes
    unsigned: Mapping[str, Any]
    pdu: Mapping[str, Any]
    room_id: str
    type: str
    sender: str
    state_key: str | None
    content: Mapping[str, Any]
    depth: int
    origin_server_ts: int
    prev_event_ids: tuple[str, ...]
    auth_event_ids: tuple[str, ...]
    redacts: str | None
    hashes: Mapping[str, Any]
    signatures: Mapping[str, Mapping[str, str]]

    def __init__(
        self,
        rules: RoomRules,
        event_id: str,
        canonical: bytes,
        *,
        pdu: Mapping[str, Any] | None = None,
        unsigned: Mapping[str, Any] | None = None,
    ) -> None:
        """Of trusted parts: use `parse_pdu`, `load_event` or `make_event`."""
        put = object.__setattr__
        put(self, "rules", rules)
        put(self, "event_id", event_id)
        put(self, "canonical", canonical)
        put(self, "unsigned", {} if unsigned is None else unsigned)
        if pdu is not None:
            self._fill(pdu)

    def __getattr__(self, name: str) -> Any:
        # Reached only for a slot that is still empty: the JSON has not been read yet.
        if name not in Event.__slots__:
            raise AttributeError(f"an event has no {name!r}")
        self._fill(json.loads(self.canonical.decode()))
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an event does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("an event does not change")

    def _fill(self, pdu: Mapping[str, Any]) -> None:
        rules = self.rules
        put = object.__setattr__
        put(self, "pdu", pdu)
        event_type = pdu["type"]
        content = pdu["content"]
        put(self, "type", event_type)
        put(self, "content", content)
        put(self, "sender", pdu["sender"])
        put(self, "state_key", pdu.get("state_key"))
        put(self, "depth", pdu["depth"])
        put(self, "origin_server_ts", pdu["origin_server_ts"])
        put(self, "hashes", pdu["hashes"])
        put(self, "signatures", pdu["signatures"])
        put(self, "room_id", room_id_of(pdu, self.event_id, rules))
        put(self, "prev_event_ids", _event_ids(pdu["prev_events"]))
        put(self, "auth_event_ids", _event_ids(pdu["auth_events"]))
        redacts = None
        if event_type == "m.room.redaction":
            redacts = (content if rules.redacts_in_content else pdu).get("redacts")
        put(self, "redacts", redacts if is_valid_event_id(redacts) else None)

    def forget(self, names: dict[str, str] | None = None) -> None:
        """Let go of what was read of the JSON, but for a few short fields: the rest is read again when it is next asked for.

        For whoever holds very many events: what is read takes several times the room of the JSON. Many events name the same
        others; `names` has one copy of each, and gets the new ones. `unsigned` is gone for good.
        """
        put = object.__setattr__
        put(self, "unsigned", {})
        if not self.is_read:
            return
        if names is not None:
            for field in ("event_id", "room_id", "type", "sender", "state_key"):
                value = getattr(self, field)
                if value is not None:
                    put(self, field, names.setdefault(value, value))
            put(self, "auth_event_ids", tuple(names.setdefault(each, each) for each in self.auth_event_ids))
        for field in _READ_AGAIN:
            object.__delattr__(self, field)

    @property
    def is_read(self) -> bool:
        """Whether the fields are at hand, and need not be read from the JSON first."""
        try:
            object.__getattribute__(self, "pdu")
        except AttributeError:
            return False
        return True

    @property
    def is_state(self) -> bool:
        """Whether this is a state event."""
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state_key) of a state event; a TypeError for any other."""
        if self.state_key is None:
            raise TypeError(f"{self!r} is not a state event")
        return (self.type, self.state_key)

    @property
    def membership(self) -> str | None:
        """`content.membership` of m.room.member, if it is a string."""
        if self.type != "m.room.member":
            return None
        membership = self.content.get("membership")
        return membership if isinstance(membership, str) else None

    @property
    def sender_domain(self) -> str:
        """The server of the sender."""
        return domain_of(self.sender)

    @property
    def auth_event_ids_with_create(self) -> tuple[str, ...]:
        """The auth events with the create event, which room version 12 implies by the room ID instead of
        listing it.

        Spec: https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
        """
        if not self.rules.room_id_is_create_hash or (self.type, self.state_key) == ("m.room.create", ""):
            return self.auth_event_ids
        create = "$" + self.room_id[1:]
        return self.auth_event_ids if create in self.auth_event_ids else (*self.auth_event_ids, create)

    def with_signatures(self, signatures: Mapping[str, Mapping[str, str]]) -> Event:
        """The same event with these signatures instead of its own. Raises `EventTooLarge`."""
        pdu = {**self.pdu, "signatures": signatures}
        canonical = encode_canonical(pdu)
        check_event_size(len(canonical))
        return Event(self.rules, self.event_id, canonical, pdu=pdu, unsigned=self.unsigned)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return (
            self.event_id == other.event_id
            and self.rules is other.rules
            and self.canonical == other.canonical
        )

    def __hash__(self) -> int:
        return hash(self.event_id)

    def __repr__(self) -> str:
        return f"<Event {self.event_id} {self.type} v{self.rules.version}>"


_READ_AGAIN = ("pdu", "content", "hashes", "signatures", "prev_event_ids", "redacts")
_KEPT = ("room_id", "type", "sender", "state_key", "depth", "origin_server_ts", "auth_event_ids")


@contextmanager
def left_as_found(events: Collection[Event]) -> Iterator[None]:
    """Those of the events that have not been read, or were forgotten, are so again afterwards."""
    unread = [(event, _kept_by(event)) for event in events if not event.is_read]
    try:
        yield
    finally:
        for event, kept in unread:
            event.forget()
            for field, value in kept.items():  # the copies that many share
                object.__setattr__(event, field, value)


def _kept_by(event: Event) -> dict[str, Any]:
    """The fields of an event that was forgotten; none of one that has never been read."""
    try:
        object.__getattribute__(event, "auth_event_ids")
    except AttributeError:
        return {}
    return {field: getattr(event, field) for field in _KEPT}


def _event_ids(references: Sequence[Any]) -> tuple[str, ...]:
    return tuple(reference if isinstance(reference, str) else reference[0] for reference in references)


def room_id_of(pdu: Mapping[str, Any], event_id: str, rules: RoomRules) -> str:
    """The room the event is in. A create event of room version 12 is the room: its ID with `!` for `$`.

    Spec: https://spec.matrix.org/v1.19/appendices/#room-ids
    """
    if rules.room_id_is_create_hash and is_create(pdu):
        return "!" + event_id[1:]
    room_id: str = pdu["room_id"]
    return room_id


def content_hash(pdu: Mapping[str, Any]) -> str:
    """The content hash, in unpadded base64: over the whole event but `unsigned`, `signatures` and `hashes`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
    """
    return encode_base64(_content_digest(pdu))


def _content_digest(pdu: Mapping[str, Any]) -> bytes:
    hashed = {key: value for key, value in pdu.items() if key not in ("unsigned", "signatures", "hashes")}
    return hashlib.sha256(encode_canonical(hashed)).digest()


def has_valid_content_hash(event: Event) -> bool:
    """Whether the event is whole: its content hash is that of its content. If not, `redact` it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
    """
    try:
        claimed_digest = decode_base64(event.hashes["sha256"])
    except ValueError:
        return False
    return claimed_digest == _content_digest(event.pdu)


def reference_hash(pdu: Mapping[str, Any], rules: RoomRules) -> bytes:
    """The SHA-256 over the essential fields of the event.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
    """
    return hashlib.sha256(event_signed_bytes(pdu, rules)).digest()


def compute_event_id(pdu: Mapping[str, Any], rules: RoomRules) -> str:
    """The event ID: in room versions 1 and 2 the PDU's own, later `$` and its reference hash."""
    if rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
        event_id: str = pdu["event_id"]
        return event_id
    return "$" + encode_base64(
        reference_hash(pdu, rules), urlsafe=rules.event_id_format is EventIDFormat.URL_SAFE_HASH
    )


def reference_to(event: Event) -> EventReference:
    """The event as an entry of another's `prev_events` or `auth_events`, in the format of its room
    version."""
    if event.rules.event_id_format is EventIDFormat.SERVER_CHOSEN:
        return (event.event_id, {"sha256": encode_base64(reference_hash(event.pdu, event.rules))})
    return event.event_id


def parse_pdu(
    pdu: Mapping[str, Any], rules: RoomRules, *, room_id: str | None = None, history: bool = False
) -> Event:
    """An event of JSON from elsewhere, with its format and sizes validated and its ID computed.

    `room_id`: the room it must belong to, where the caller knows it. `history`: it came from /backfill, see
    `check_pdu`. Raises `InvalidEvent` with the reason (`EventTooLarge` for the size limits). Hashes and
    signatures are not checked: see `has_valid_content_hash` and `signing.required_signatures`.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
    """
    if not isinstance(pdu, Mapping):
        raise InvalidEvent("the event is not an object")
    check_pdu(pdu, rules, history=history)
    signed = {key: value for key, value in pdu.items() if key != "unsigned"}
    try:
        check_canonical(pdu, strict=rules.strict_canonical_json)
        canonical = encode_canonical(signed)
        # "The complete event MUST NOT be larger than 65536 bytes": `unsigned` counts though it is not kept.
        extra = len(encode_canonical(pdu["unsigned"])) + len(',"unsigned":') if "unsigned" in pdu else 0
    except CanonicalJSONError as error:
        raise InvalidEvent(f"not canonical JSON: {error.reason}") from None
    check_event_size(len(canonical) + extra)
    event_id = compute_event_id(signed, rules)
    event = Event(rules, event_id, canonical, pdu=signed, unsigned=pdu.get("unsigned"))
    if room_id is not None and event.room_id != room_id:
        raise InvalidEvent(f"the event is of room {event.room_id}, not {room_id}")
    return event


def load_event(canonical: bytes, event_id: str, rules: RoomRules) -> Event:
    """An event from storage: what `event.canonical` was. It is trusted; its JSON is read when first
    needed."""
    return Event(rules, event_id, canonical)


def make_event(
    rules: RoomRules,
    *,
    server_name: str,
    signing_key: SigningKey,
    room_id: str | None,
    type: str,
    sender: str,
    content: Mapping[str, Any],
    state_key: str | None,
    prev_events: Sequence[EventReference],
    auth_events: Sequence[EventReference],
    depth: int,
    origin_server_ts: int,
    redacts: str | None = None,
    unsigned: Mapping[str, Any] | None = None,
    event_id: str | None = None,
) -> Event:
    """A new event of ours, hashed and signed by `server_name`.

    `room_id` is None for the create event of room version 12 and later alone. `state_key` is None for what is
    not a state event. `prev_events` and `auth_events` as `reference_to` gives them. `depth` is cut to the
    room version's limit. `redacts` goes where the room version wants it. `event_id` is for room versions 1
    and 2 alone, where the caller chooses it. Raises `InvalidEvent` if it would not be a valid event,
    `EventTooLarge` if it is too large. New events follow canonical JSON in every room version.
    """
    pdu: dict[str, Any] = {
        "type": type,
        "sender": sender,
        "content": content,
        "depth": min(depth, rules.max_depth),
        "origin_server_ts": origin_server_ts,
        "prev_events": _references(prev_events, rules),
        "auth_events": _references(auth_events, rules),
        "signatures": {},
    }
    if room_id is not None:
        pdu["room_id"] = room_id
    if state_key is not None:
        pdu["state_key"] = state_key
    if event_id is not None:
        if rules.event_id_format is not EventIDFormat.SERVER_CHOSEN:
            raise ValueError(f"the event ID of room version {rules.version} is not the caller's to choose")
        pdu["event_id"] = event_id
    if redacts is not None:
        if rules.redacts_in_content:
            pdu["content"] = {**content, "redacts": redacts}
        else:
            pdu["redacts"] = redacts
    return _sign_new(pdu, rules, server_name, signing_key, unsigned)


def _sign_new(
    pdu: dict[str, Any],
    rules: RoomRules,
    server_name: str,
    signing_key: SigningKey,
    unsigned: Mapping[str, Any] | None,
) -> Event:
    """Hash, check and sign a new PDU, as another server would check it on receipt.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
    """
    try:
        check_canonical(pdu, strict=True)
        pdu["hashes"] = {"sha256": content_hash(pdu)}
    except CanonicalJSONError as error:
        raise InvalidEvent(f"not canonical JSON: {error.reason}") from None
    check_pdu(pdu, rules, ours=True)
    message = event_signed_bytes(pdu, rules)
    signature = signature_of(message, signing_key)
    pdu["signatures"] = with_signature({}, server_name, key_id_of(signing_key), signature)
    canonical = encode_canonical(pdu)
    check_event_size(len(canonical))
    event_id = compute_event_id(pdu, rules)
    # Parsed again, for a copy of its own: the caller may change the content it gave us.
    return Event(rules, event_id, canonical, pdu=json.loads(canonical.decode()), unsigned=unsigned)


def _references(references: Sequence[EventReference], rules: RoomRules) -> list[Any]:
    if rules.event_id_format is not EventIDFormat.SERVER_CHOSEN:
        return list(_event_ids(references))
    return [
        [reference, {}] if isinstance(reference, str) else [reference[0], dict(reference[1] or {})]
        for reference in references
    ]


def redact(event: Event) -> Event:
    """The event as redaction leaves it, with the same event ID and without `unsigned`."""
    pdu = redact_pdu(event.pdu, event.rules)
    return Event(event.rules, event.event_id, encode_canonical(pdu), pdu=pdu)


def client_event(
    event: Event, *, with_room_id: bool = True, unsigned: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The form in which clients and application services get the event (ClientEvent).

    `unsigned` is what the server itself adds for this reader (`age`, `transaction_id`, ...); the event's own,
    from elsewhere, is not shown.

    An m.room.redaction has `redacts` in both places, as every room version asks for older and newer clients.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#room-event-format
    Spec: https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    """
    client: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if with_room_id:
        client["room_id"] = event.room_id
    if event.state_key is not None:
        client["state_key"] = event.state_key
    if event.redacts is not None:
        client["redacts"] = event.redacts
        if "redacts" not in event.content:
            client["content"] = {**event.content, "redacts": event.redacts}
    if unsigned is not None:
        client["unsigned"] = unsigned
    return client
