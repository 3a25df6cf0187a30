"""Storing a room that was joined through another server, in one unit of work."""

from __future__ import annotations

from homeserver.core.auth_rules import Refusal
from homeserver.core.events import Event
from homeserver.services.identity import Identity
from homeserver.services.imported_state import ImportedState
from homeserver.services.notifier import Committed
from homeserver.services.outliers import import_outliers
from homeserver.services.room_graph import GraphWriter, Verdict
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Transaction
from homeserver.storage.rooms import Room


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
        graph. Returns the rule that refuses the join, and has stored nothing then; or why the join, which is stored, has no
        effect.
        """

        async def work(tx: Transaction) -> tuple[Refusal | None, Committed | None]:
            writer = await self._writer(tx, join)
            lags = await self._lags(tx, writer.room, state)
            await import_outliers(tx, self._states, writer.room, state.outliers, state.rejected)
            before = await self._states.built(tx, state.entries)
            is_in = await memberships.is_server_joined(tx, writer.room.room_nid, self._identity.server_name)
            if not is_in and not lags:
                writer.forget_ends()  # nobody has told us of the room since we left
            # Ours, so not judged by the current state, which is that of an earlier stay if there is one at all.
            outcome = await writer.add(join, state_before=before, local=True)
            if outcome.verdict is Verdict.REJECTED and outcome.refusal:
                raise _NotAllowed(outcome.refusal)
            undone = await self._undone(writer, join)
            return undone, await writer.close()

        try:
            return await self._writes.run(join.room_id, work)
        except _NotAllowed as refused:
            return refused.refusal

    async def _lags(self, tx: Transaction, room: Room, state: ImportedState) -> bool:
        """Whether the server that gave us the state has not had yet what ended our earlier stay: a leave of ours that is still on
        its way to it, or a ban.

        Then what we know of the room is no past of the join: the two are a fork, and the states have to be resolved, as all others
        will do. Whatever becomes of a user's membership names what it was until then among its auth events; so the server has had
        our users' newest memberships if they are in its state, or authorise what is.
        """
        mine = await memberships.of_server(tx, room.room_nid, self._identity.server_name)
        offered = {event.event_id for event in state.outliers}
        missing = [each.event_id for each in mine if each.event_id not in offered]
        known = await stored_events.known(tx, missing)
        return any(not each.is_outlier for each in known.values())

    async def _undone(self, writer: GraphWriter, join: Event) -> Refusal | None:
        """Why the join is not what the room's state has of the user, if it is not."""
        key = ("m.room.member", join.sender)
        now = (await writer.state_events(writer.current_state, [key])).get(key)
        if now is not None and now.membership == "join":
            return None
        return Refusal(
            "state resolution",
            f"{join.sender} has left the room or was banned from it, which the server did not know yet; with that the room does"
            " not let the user in",
        )

    async def _writer(self, tx: Transaction, join: Event) -> GraphWriter:
        room = await rooms.get(tx, join.room_id)
        server_name = self._identity.server_name
        if room is None:
            return await GraphWriter.create(tx, self._states, server_name, join.room_id, join.rules.version)
        return await GraphWriter.open(tx, self._states, server_name, room)
