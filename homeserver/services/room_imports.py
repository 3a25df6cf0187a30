"""Storing a room that was joined through another server, in one unit of work."""

from __future__ import annotations

from homeserver.core.auth_rules import Refusal
from homeserver.core.events import Event
from homeserver.services.identity import Identity
from homeserver.services.imported_state import ImportedState
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import GraphWriter, Verdict, import_outliers
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction


class _NotAllowed(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class RoomImports:
    """Takes rooms in that other servers gave us."""

    def __init__(self, writes: RoomWrites, states: RoomStates, identity: Identity) -> None:
        """All writes go through `writes`."""
        self._writes = writes
        self._states = states
        self._identity = identity

    async def store(self, join: Event, state: ImportedState) -> Refusal | None:
        """Store the state before our join and the join itself; the graph goes on from there.

        Both are verified already. A room that we know from an earlier stay keeps its history, and one that we are in keeps its
        graph. Returns the rule that refuses the join, and has stored nothing then.
        """

        async def work(tx: Transaction) -> tuple[None, Committed | None]:
            writer = await self._writer(tx, join)
            await import_outliers(tx, self._states, writer.room, state.outliers, state.rejected)
            before = await self._states.built(tx, state.entries)
            if not await memberships.is_server_joined(tx, writer.room.room_nid, self._identity.server_name):
                writer.forget_ends()  # nobody has told us of the room since we left
            # Ours, so not judged by the current state, which is that of an earlier stay if there is one at all.
            outcome = await writer.add(join, state_before=before, local=True)
            if outcome.verdict is Verdict.REJECTED and outcome.refusal:
                raise _NotAllowed(outcome.refusal)
            return None, await writer.close()

        try:
            await self._writes.run(join.room_id, work)
        except _NotAllowed as refused:
            return refused.refusal
        return None

    async def _writer(self, tx: Transaction, join: Event) -> GraphWriter:
        room = await rooms.get(tx, join.room_id)
        server_name = self._identity.server_name
        if room is None:
            return await GraphWriter.create(tx, self._states, server_name, join.room_id, join.rules.version)
        return await GraphWriter.open(tx, self._states, server_name, room)
