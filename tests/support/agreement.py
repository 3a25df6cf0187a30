"""Whether servers agree about a room: the same state, the same events, the same members."""

from collections.abc import Mapping
from typing import Any

from .network import until
from .person import Person

SYNAPSE_ALONE = "org.matrix.dummy_event"
"""Synapse ties loose ends of the graph together with such events, and does not show them to its own clients."""

SAME_EVERYWHERE = ("type", "sender", "state_key", "content", "origin_server_ts", "redacts")


class Seen:
    """A room as somebody's server shows it."""

    def __init__(
        self, state: Mapping[tuple[str, str], dict[str, Any]], history: list[dict[str, Any]]
    ) -> None:
        self.state = {key: event["event_id"] for key, event in state.items()}
        self.history = history
        """Newest first."""
        self.events = {
            event["event_id"]: {key: event.get(key) for key in SAME_EVERYWHERE} for event in history
        }

    @property
    def event_ids(self) -> list[str]:
        """The event IDs in the order of the history, newest first."""
        return [event["event_id"] for event in self.history]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and (self.state, self.events) == (other.state, other.events)

    __hash__ = None  # type: ignore[assignment]

    def difference(self, other: "Seen") -> str:
        """What a person needs in order to find out why they are not equal."""
        return "\n".join(
            f"  {what} only {where}: { {key: ours[key] for key in ours if theirs.get(key) != ours[key]} }"
            for what, mine, its in (
                ("state", self.state, other.state),
                ("events", self.events, other.events),
            )
            for where, ours, theirs in (("here", mine, its), ("there", its, mine))
            if any(theirs.get(key) != ours[key] for key in ours)
        )


async def seen(person: Person, room_id: str) -> Seen:
    """The room as the person's server shows it; AssertionError when an event comes twice in its history."""
    history = [event for event in await person.history(room_id) if event["type"] != SYNAPSE_ALONE]
    found = Seen(await person.state(room_id), history)
    assert len(found.events) == len(found.history), (
        f"{person.user_id} is shown events twice: {found.event_ids}"
    )
    return found


async def agree(room_id: str, first: Person, *others: Person, seconds: float = 30) -> Seen:
    """Wait until the servers of these people show the same room; the room as all of them show it.

    That is the same event for each entry of the state, the same events in the history (whose order servers are free to
    choose) with the same content, and the same members.
    """
    views: dict[str, Seen] = {}

    async def same() -> bool:
        views.update({person.user_id: await seen(person, room_id) for person in (first, *others)})
        return all(views[person.user_id] == views[first.user_id] for person in others)

    try:
        await until(same, f"the servers to agree about {room_id}", seconds)
    except AssertionError as error:
        found = [
            f"{first.user_id} (here), {person.user_id} (there):\n"
            + views[first.user_id].difference(views[person.user_id])
            for person in others
            if first.user_id in views and person.user_id in views
        ]
        raise AssertionError("\n".join([str(error), *found])) from error
    members = [await person.joined_members(room_id) for person in (first, *others)]
    assert all(those == members[0] for those in members), members
    return views[first.user_id]
