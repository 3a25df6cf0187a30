"""The room services on a database of the test's own, without HTTP."""

from dataclasses import dataclass, field
from pathlib import Path

from signedjson.key import generate_signing_key

from homeserver.config import PresenceSettings, RateLimit
from homeserver.services.client_events import ClientEvents
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed, Notifier
from homeserver.services.presence import Presence
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.services.sync import Sync
from homeserver.services.timeline import Draft, Timeline
from homeserver.services.typing_users import TypingUsers
from homeserver.services.user_writes import UserWrites
from homeserver.storage.database import Database, open_database
from homeserver.storage.state import NodeCache


@dataclass(frozen=True)
class SQLite:
    """Database settings for a file."""

    path: Path
    name: str = "sqlite3"

    @property
    def args(self) -> dict[str, str]:
        """What open_database asks for."""
        return {"database": str(self.path)}


@dataclass
class TickingClock:
    """A clock that the test moves."""

    now: int = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class RoomServices:
    """What a server has for its rooms, with a record of what was committed."""

    database: Database
    server_name: str = "ours.test"
    clock: TickingClock = field(default_factory=TickingClock)
    committed: list[Committed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.identity = Identity(self.server_name, generate_signing_key("test"))
        self.states = RoomStates(NodeCache())
        self.notifier = Notifier(0)
        self.writes = RoomWrites(self.database, self._after_commit)
        self.user_writes = UserWrites(self.database, self._after_commit)
        self.timeline = Timeline(self.writes, self.states, self.identity, self.clock)
        self.client_events = ClientEvents(self.states, self.clock)
        typing = TypingUsers(self.notifier.stir, self.clock)
        presence = no_presence(self.database, self.clock)
        self.sync = Sync(self.database, self.states, self.client_events, self.notifier, typing, presence)

    def _after_commit(self, committed: Committed) -> None:
        self.committed.append(committed)
        self.notifier.committed(committed)

    async def room(self, creator: str, version: str = "12", *, join_rule: str = "public") -> str:
        """A room with its creator joined, and power levels."""
        levels = {"users": {} if version == "12" else {creator: 100}, "ban": 50}
        return await self.timeline.create_room(
            version,
            creator,
            {},
            [
                Draft(creator, "m.room.member", {"membership": "join"}, creator),
                Draft(creator, "m.room.power_levels", levels, ""),
                Draft(creator, "m.room.join_rules", {"join_rule": join_rule}, ""),
            ],
        )

    async def join(self, room_id: str, user_id: str) -> str:
        """Let a local user join."""
        return await self.timeline.send(
            room_id, Draft(user_id, "m.room.member", {"membership": "join"}, user_id)
        )

    async def say(self, room_id: str, user_id: str, text: str) -> str:
        """Send a message."""
        content = {"msgtype": "m.text", "body": text}
        return await self.timeline.send(room_id, Draft(user_id, "m.room.message", content))


def no_presence(database: Database, clock: Clock) -> Presence:
    """Presence, switched off."""
    limit = RateLimit(per_second=1, burst_count=1)
    return Presence(database, None, PresenceSettings(enabled=False), limit, clock)


async def open_sqlite(path: Path) -> Database:
    """A database in a file of the test's own."""
    return await open_database(SQLite(path))
