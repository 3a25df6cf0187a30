"""A client's view of one room: what somebody knows who only ever follows /sync."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from .person import Person

LIMIT = 20


class Follower:
    """Follows a room by /sync, as clients do: a gap in the timeline is filled by paging back from `prev_batch`."""

    def __init__(self, person: Person, room_id: str) -> None:
        self.person = person
        self.room_id = room_id
        self.membership: str | None = None
        self.timeline: list[dict[str, Any]] = []
        """Everything since the first sync and what that came with, oldest first."""
        self.state: dict[tuple[str, str], dict[str, Any]] = {}
        self.invite_state: list[dict[str, Any]] = []

    @property
    def event_ids(self) -> list[str]:
        """The IDs of the timeline's events."""
        return [event["event_id"] for event in self.timeline]

    @property
    def texts(self) -> list[str]:
        """The bodies of the messages in the timeline."""
        return [
            event["content"]["body"]
            for event in self.timeline
            if event["type"] == "m.room.message" and "body" in event["content"]
        ]

    async def update(self, *, timeout: int = 0) -> None:
        """One /sync; AssertionError when an event comes a second time."""
        room_filter = json.dumps({"room": {"timeline": {"limit": LIMIT}}})
        answer = await self.person.sync(timeout=timeout, filter=room_filter, use_state_after="true")
        for membership, rooms in answer.get("rooms", {}).items():
            if self.room_id in rooms:
                came_back = self.membership == "leave" and membership == "join"
                self.membership = membership
                await self._take(rooms[self.room_id], came_back)

    async def until(self, condition: Callable[["Follower"], bool], what: str, seconds: float = 30) -> None:
        """Follow until the condition holds. Each /sync waits for longer than `seconds`: something must wake it."""
        try:
            async with asyncio.timeout(seconds):
                while not condition(self):
                    await self.update(timeout=int(seconds * 2000))
        except TimeoutError:
            known = f"{self.membership}, {len(self.timeline)} events, the last {self.timeline[-3:]}"
            raise AssertionError(f"{self.person.user_id} was not told by /sync of {what}: {known}") from None

    async def until_event(self, *event_ids: str) -> None:
        """Follow until these events are in the timeline."""
        wanted = set(event_ids)
        await self.until(lambda view: wanted <= set(view.event_ids), f"the events {sorted(wanted)}")

    async def _take(self, room: dict[str, Any], came_back: bool) -> None:
        if "invite_state" in room:
            self.invite_state = room["invite_state"]["events"]
            return
        new = room["timeline"]["events"]
        # Only `state_after` tells how the state of branches that meet was resolved; not every server has it.
        changes = room["state_after"]["events"] if "state_after" in room else [*room["state"]["events"], *new]
        for event in changes:
            if "state_key" in event:
                self.state[event["type"], event["state_key"]] = event
        if room["timeline"]["limited"] and self.timeline:
            new = [*await self._gap(room["timeline"]["prev_batch"]), *new]
        known = set(self.event_ids)
        twice = [event["event_id"] for event in new if event["event_id"] in known]
        # Who comes back to a room gets its newest events as if for the first time.
        assert not twice or came_back, f"{self.person.user_id} is told of events a second time: {twice}"
        self.timeline += [event for event in new if event["event_id"] not in known]

    async def _gap(self, prev_batch: str) -> list[dict[str, Any]]:
        known = set(self.event_ids)
        found: list[dict[str, Any]] = []
        token: str | None = prev_batch
        while token is not None:
            page = await self.person.messages(self.room_id, limit=LIMIT, **{"from": token})
            # Where the room's graph branches, known and missed events of the same depth come side by side.
            new = [event for event in page["chunk"] if event["event_id"] not in known]
            found += new
            token = page.get("end") if new else None
        return found[::-1]
