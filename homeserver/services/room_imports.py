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

    async def store(self, join: Event, state: ImportedState, *, lags: bool = False) -> Refusal | None:
        """Store the state before our join and the join itself; the graph goes on from there.

        lags: whether the server that gave us the state has not had yet what ended our earlier stay: a leave of ours that is on its
        way to it, or a ban. Then what we know of the room is no past of the join: the two are a fork, and the states have to be
        resolved, as all others will do.

        Both are verified already. A room that we know from an earlier stay keeps its history, and one that we are in keeps its
        graph. Returns the rule that refuses the join, and has stored nothing then; or why the join, which is stored, has no
        effect.
        """

        async def work(tx: Transaction) -> tuple[Refusal | None, Committed | None]:
            writer = await self._writer(tx, join)
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

    async def unnamed_memberships(self, room_id: str, state: ImportedState) -> list[str]:
        """The newest memberships of our users that another server's state does not build on, by their event IDs.

        Whatever becomes of a user's membership names what it was until then among its auth events. So who gave us the state has not
        had these events yet, or has decided against them.
        """

        async def work(tx: Transaction) -> list[str]:
            room = await rooms.get(tx, room_id)
            server_name = self._identity.server_name
            mine = await memberships.of_server(tx, room.room_nid, server_name) if room else []
            offered = {event.event_id for event in state.outliers}
            known = await stored_events.known(tx, {each.event_id for each in mine} - offered)
            return [event_id for event_id, each in known.items() if not each.is_outlier]

        return await self._writes.read(work)

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
