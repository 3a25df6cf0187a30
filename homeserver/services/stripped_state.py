"""The few state events that tell a room's outsiders what it is."""

from homeserver.core.events import Event, StateKey
from homeserver.core.state_map import Digest
from homeserver.services.room_state import RoomStates
from homeserver.storage.database import Transaction

STRIPPED_STATE: tuple[StateKey, ...] = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)
"""Spec: https://spec.matrix.org/v1.19/client-server-api/#stripped-state"""


async def stripped_state(tx: Transaction, states: RoomStates, root: Digest) -> list[Event]:
    """The events of a room's state that those outside may see, in the specification's order."""
    found = await states.events(tx, root, STRIPPED_STATE)
    return [found[key] for key in STRIPPED_STATE if key in found]
