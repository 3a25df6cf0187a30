"""Taking verified events of other servers into a room's graph, filling the gaps before them.

Spec: https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter

from homeserver.core.event_order import by_prev_events, ordered
from homeserver.core.events import Event
from homeserver.core.state_map import Digest
from homeserver.services.event_gaps import EventGaps
from homeserver.services.gap_allowance import GapAllowance, GapError
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import GraphWriter, MissingEvents, Outcome
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import rooms
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

EVENTS_A_UNIT = 50
MAX_STATE_FETCHES = 5
REQUESTS_A_PDU, SECONDS_A_PDU = 20, 90.0
REQUESTS_A_TRANSACTION, SECONDS_A_TRANSACTION = 100, 300.0
"""What filling gaps may cost. A usual gap takes three requests: the events in it, the state before them, what is new in that."""

PAUSES_S = (1.0, 2.0, 4.0)
"""How long to wait, for all events of one intake together, before a server is asked again that could not be asked just now: what
is not taken is not sent a second time."""

given_up = Counter(
    "homeserver_event_gaps_given_up_total",
    "Received events that were not taken because what is missing before them could not be had.",
)


def allowance_of_a_transaction() -> GapAllowance:
    """What may be asked for all events that came together, those of several rooms too."""
    return GapAllowance(REQUESTS_A_TRANSACTION, SECONDS_A_TRANSACTION)


@dataclass(slots=True)
class Intake:
    """What became of some events: `outcomes` by event ID, and in `lost` the reasons for those that could not be judged."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """What has been tried for the events of one intake."""

    server: str
    room: Room
    allowance: GapAllowance
    roots: dict[str, Digest] = field(default_factory=dict)
    asked_for_earlier: set[str] = field(default_factory=set)
    asked_for_auth: set[str] = field(default_factory=set)
    allowances: dict[str, GapAllowance] = field(default_factory=dict)
    pauses_s: list[float] = field(default_factory=list)

    def ask_again(self, event_id: str) -> None:
        """What was asked for an event got no answer: it may be asked for once more."""
        self.asked_for_earlier.discard(event_id)
        self.asked_for_auth.discard(event_id)
        self.roots.pop(event_id, None)

    def allowance_for(self, event_id: str) -> GapAllowance:
        """What may be asked for an event: of its own for one that was sent, of the event before which it was missing for others."""
        if event_id not in self.allowances:
            self.allowances[event_id] = GapAllowance(REQUESTS_A_PDU, SECONDS_A_PDU, of=self.allowance)
        return self.allowances[event_id]


class EventIntake:
    """Adds events of other servers to the graph."""

    def __init__(
        self,
        writes: RoomWrites,
        states: RoomStates,
        server_name: str,
        gaps: EventGaps,
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """`gaps` fetches what is missing; `server_name` is ours."""
        self._pauses_s = pauses_s
        self._writes = writes
        self._states = states
        self._server_name = server_name
        self._gaps = gaps

    async def take(self, server: str, room: Room, events: Sequence[Event], allowance: GapAllowance) -> Intake:
        """Add events that `server` gave us, which have passed the first three checks, in the order of the graph.

        `allowance`: what may be asked for what is missing before all of them; each event has a smaller share of its own.
        Not to be run twice at the same time for one room.
        """
        intake = Intake()
        progress = _Progress(server, room, allowance, pauses_s=list(self._pauses_s))
        pending = ordered(events, by_prev_events)
        for event in events:
            if event not in pending:
                intake.lost[event.event_id] = "it comes before itself"
        while pending:
            missing = await self._add(progress, pending[:EVENTS_A_UNIT], intake)
            pending = [event for event in pending if event.event_id not in intake.outcomes]
            if missing is None:
                continue
            event = pending[0]
            try:
                pending = [*await self._fill(progress, event, missing), *pending]
            except GapError as gap:
                if gap.is_temporary and progress.pauses_s:
                    await asyncio.sleep(progress.pauses_s.pop(0))
                    progress.ask_again(event.event_id)
                    continue
                given_up.inc()
                log.info("cannot take %s of %s: %s", event.event_id, room.room_id, gap.reason)
                intake.lost[event.event_id] = gap.reason
                pending.pop(0)
        return intake

    async def _add(
        self, progress: _Progress, events: Sequence[Event], intake: Intake
    ) -> MissingEvents | None:
        """Add events in one unit of work up to the first that refers to something that is not here."""

        async def work(
            tx: Transaction,
        ) -> tuple[tuple[list[Outcome], MissingEvents | None], Committed | None]:
            room = await rooms.get(tx, progress.room.room_id)
            assert room is not None, "a room that is known stays known"
            writer = await GraphWriter.open(tx, self._states, self._server_name, room)
            outcomes: list[Outcome] = []
            missing = None
            for event in events:
                try:
                    outcomes.append(await writer.add(event, state_before=progress.roots.get(event.event_id)))
                except MissingEvents as error:
                    missing = error
                    break
            return (outcomes, missing), await writer.close()

        outcomes, missing = await self._writes.run(progress.room.room_id, work)
        intake.outcomes.update((outcome.event.event_id, outcome) for outcome in outcomes)
        return missing

    async def _fill(self, progress: _Progress, event: Event, missing: MissingEvents) -> list[Event]:
        """Fetch what an event lacks; returns earlier events that are to be added first. Raises GapError."""
        server, room, allowance = progress.server, progress.room, progress.allowance_for(event.event_id)
        if missing.auth_events:
            if event.event_id in progress.asked_for_auth:
                raise GapError(f"its auth events {sorted(missing.auth_events)} are not known")
            progress.asked_for_auth.add(event.event_id)
            await self._gaps.fetch_auth_events(server, room, event, allowance)
            return []
        if event.event_id not in progress.asked_for_earlier:
            earlier = await self._gaps.earlier_events(server, room, event, allowance)
            # What comes before these has been asked for with them.
            progress.asked_for_earlier.update({event.event_id, *(each.event_id for each in earlier)})
            for each in earlier:
                progress.allowances.setdefault(each.event_id, allowance)
            return earlier
        if event.event_id in progress.roots or len(progress.roots) >= MAX_STATE_FETCHES:
            raise GapError(f"too much is missing before it: {sorted(missing.prev_events)}")
        progress.roots[event.event_id] = await self._gaps.state_before(server, room, event, allowance)
        return []
