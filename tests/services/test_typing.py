"""Who has left a room types there no more."""

from __future__ import annotations

from typing import Any, cast

from homeserver.services.notifier import Committed
from homeserver.services.sender import Sender
from homeserver.services.typing import Typing
from homeserver.services.typing_users import TypingUsers
from homeserver.storage.database import Database, DatabaseError
from tests.support.federation_peer import until

ALICE, ROOM = "@alice:ours.test", "!room:ours.test"


class Failing:
    """A database that fails."""

    async def read(self, _: Any) -> Any:
        raise DatabaseError("the connection is lost")


async def test_who_may_have_left_types_no_more_when_the_database_fails() -> None:
    users = TypingUsers(lambda _: None, lambda: 1)
    typing = Typing(cast(Database, Failing()), users, cast(Sender, None), "ours.test")
    users.start(ROOM, ALICE, 60_000)
    typing.committed(Committed(2, frozenset({ROOM}), frozenset({ALICE})))
    await until(lambda: not users.is_typing(ROOM, ALICE))
    await typing.stop()
