"""Puts sums in the place of a room's old notifications: in the background, in steps that take milliseconds of the writer's time."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.services.background import BackgroundWork
from homeserver.services.notifier import Committed
from homeserver.storage import notifications
from homeserver.storage.database import Database

KEPT = 500
"""So many notifying events of a room are kept; of older ones only how many each user has not read."""

FOLD_EVERY = 64
"""Whether a room has more of them is looked at whenever it gets an event at a position that is a multiple of this."""

MEMBERS_A_STEP = 50
"""Each has up to some hundred rows that are summed up."""

ROWS_A_STEP = 500
PAUSE_S = 0.02


@dataclass(slots=True)
class _Fold:
    """How far the folding of a room is. bound: up to which position; after: the user whose sums were made last."""

    bound: int | None = None
    after: str = ""
    is_summed: bool = False


class Folding:
    """Folds rooms, one after the other. What a restart interrupts is begun anew when the room is next looked at."""

    def __init__(self, database: Database, server_name: str) -> None:
        """`server_name` is ours."""
        self._database = database
        self._server_name = server_name
        self._due: dict[int, _Fold] = {}
        self.work = BackgroundWork("folding of notifications", self.step, pause_s=PAUSE_S)

    def committed(self, news: Committed) -> None:
        """Events have come."""
        for arrival in news.arrivals:
            if arrival.room is not None and any(
                (stored.position or 0) % FOLD_EVERY == 0 for stored in arrival.events
            ):
                self._due.setdefault(arrival.room.room_nid, _Fold())
                self.work.wake()

    async def step(self) -> bool:
        """Do a little; whether there is more to do."""
        for room_nid, fold in self._due.items():
            if not await self._step(room_nid, fold):
                del self._due[room_nid]
            return True
        return False

    async def _step(self, room_nid: int, fold: _Fold) -> bool:
        """One unit of work on a room; whether more are needed."""
        if fold.bound is None:
            fold.bound = await self._database.read(lambda tx: notifications.fold_bound(tx, room_nid, KEPT))
            return fold.bound is not None
        bound = fold.bound
        if not fold.is_summed:
            last = await self._database.write(
                lambda tx: notifications.fold_members(
                    tx, room_nid, self._server_name, bound, fold.after, MEMBERS_A_STEP
                )
            )
            fold.after, fold.is_summed = last or "", last is None
            return True
        return await self._database.write(
            lambda tx: notifications.remove_folded(tx, room_nid, bound, ROWS_A_STEP)
        )
