"""Reading answers: typed access to JSON of which nothing is known yet. Each raises FederationError "answer"."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.errors import InvalidEvent
from homeserver.core.events import Event, parse_pdu
from homeserver.core.json_stream import JSONLists, NotAnObject
from homeserver.core.room_versions import RoomRules
from homeserver.federation.errors import FederationError
from homeserver.federation.transport import read_pieces

_PARSE_IN_THREAD_ABOVE = 10
_PIECE = 256 * 1024
_MAX_INVALID = 10_000


def invalid(destination: str, what: str) -> FederationError:
    """The error for an answer that is not what the endpoint promises."""
    return FederationError(destination, "answer", f"the answer is not what the endpoint promises: {what}")


def as_object(destination: str, value: Any, what: str = "it") -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise invalid(destination, f"{what} is not an object")
    return value


def as_pair(destination: str, value: Any) -> dict[str, Any]:
    """The object in `[200, {...}]`, as the first version of some endpoints answers."""
    if not isinstance(value, list) or len(value) != 2:
        raise invalid(destination, "it is not a list of a status and an object")
    return as_object(destination, value[1], "the second entry")


def field(destination: str, value: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A required field of a JSON type; a bool is not an int."""
    if name not in value:
        raise invalid(destination, f"{name} is missing")
    found = value[name]
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is int):
        raise invalid(destination, f"{name} is a {type(found).__name__}")
    return found


def optional(destination: str, value: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A field that may be absent or null: then None."""
    return None if value.get(name) is None else field(destination, value, name, kind)


def items(
    destination: str, value: dict[str, Any], name: str, check: Callable[[object], bool], limit: int
) -> tuple[Any, ...]:
    """A required list, at most `limit` long, each entry of which passes `check`."""
    found = field(destination, value, name, list)
    if len(found) > limit:
        raise invalid(destination, f"{name} has {len(found)} entries; at most {limit} are accepted")
    for position, entry in enumerate(found):
        if not check(entry):
            raise invalid(destination, f"{name}[{position}] is not valid")
    return tuple(found)


def valid_items(
    destination: str, value: dict[str, Any], name: str, check: Callable[[object], bool], limit: int
) -> tuple[Any, ...]:
    """The entries of a required list that pass `check`, at most `limit`. For lists where one bad entry harms
    nobody.
    """
    found = field(destination, value, name, list)
    return tuple(entry for entry in found if check(entry))[:limit]


def is_object(value: object) -> bool:
    """Whether `value` is a JSON object."""
    return isinstance(value, dict)


@dataclass(frozen=True)
class PDUs:
    """The valid events of a list of PDUs, in its order, and why each of the others is none.

    Format, size and room are checked; hashes and signatures are not.
    """

    events: tuple[Event, ...]
    invalid: tuple[str, ...]


def parse_pdus(values: list[Any], rules: RoomRules, room_id: str, history: bool) -> PDUs:
    """Parse a list of PDUs. Takes time for long lists."""
    events: list[Event] = []
    problems: list[str] = []
    for value in values:
        try:
            events.append(parse_pdu(value, rules, room_id=room_id, history=history))
        except InvalidEvent as error:
            problems.append(error.reason)
    return PDUs(tuple(events), tuple(problems))


async def pdus(
    destination: str,
    value: dict[str, Any],
    name: str,
    rules: RoomRules,
    room_id: str,
    *,
    history: bool = False,
) -> PDUs:
    """A required list of PDUs of a room; long ones are parsed off the event loop. `history`: as in `check_pdu`."""
    values = field(destination, value, name, list)
    if len(values) > _PARSE_IN_THREAD_ABOVE:
        return await asyncio.to_thread(parse_pdus, values, rules, room_id, history)
    return parse_pdus(values, rules, room_id, history)


class ManyPDUs:
    """Collects the PDUs of the lists of one answer, which may be very many: what several lists have is held once, and of each
    event little more than its JSON (`Event.forget`).
    """

    def __init__(self, destination: str, rules: RoomRules, room_id: str) -> None:
        self._destination = destination
        self._rules = rules
        self._room_id = room_id
        self._known: dict[str, Event] = {}
        self._names: dict[str, str] = {}
        self._events: dict[str, list[Event]] = {}
        self._problems: dict[str, list[str]] = {}

    def take(self, name: str) -> Callable[[Any], None]:
        """What takes the entries of the list of this name. Raises FederationError when far too many of them are no events."""
        events = self._events.setdefault(name, [])
        problems = self._problems.setdefault(name, [])

        def one(value: Any) -> None:
            try:
                event = parse_pdu(value, self._rules, room_id=self._room_id)
            except InvalidEvent as error:
                problems.append(error.reason)
                if len(problems) > _MAX_INVALID:
                    raise invalid(
                        self._destination,
                        f"more than {_MAX_INVALID} entries of {name} are no events: {error.reason:.200}",
                    ) from error
                return
            known = self._known.get(event.event_id)
            if known is None or known.canonical != event.canonical:
                event.forget(self._names)
                known = self._known[event.event_id] = event
            events.append(known)

        return one

    def found(self, name: str) -> PDUs:
        """What has come in the list of this name."""
        return PDUs(tuple(self._events[name]), tuple(self._problems[name]))


async def read_lists(
    response: aiohttp.ClientResponse, destination: str, reader: JSONLists, limit: int
) -> dict[str, Any]:
    """Read an answer with `reader`, off the event loop; returns what is not in its lists. limit: bytes."""
    try:
        async for piece in read_pieces(response, destination, limit, size=_PIECE):
            await asyncio.to_thread(reader.feed, piece)
        return await asyncio.to_thread(reader.close)
    except NotAnObject as error:
        raise invalid(destination, error.reason) from error
    except CanonicalJSONError as error:
        raise FederationError(destination, "json", f"the answer is not JSON: {error.reason}") from error


def one_pdu(destination: str, value: Any, rules: RoomRules, room_id: str, event_id: str) -> Event:
    """One PDU that must be the event that was asked for."""
    try:
        event = parse_pdu(value, rules, room_id=room_id)
    except InvalidEvent as error:
        raise invalid(destination, error.reason) from error
    if event.event_id != event_id:
        raise invalid(destination, f"it is the event {event.event_id}, not {event_id}")
    return event
