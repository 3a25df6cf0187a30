"""What a client asks of /sync, and what the parts of the answer are built with."""

from collections.abc import Collection
from dataclasses import dataclass, field

from homeserver.core.filters import Filter
from homeserver.core.requester import Requester
from homeserver.core.stream_tokens import SyncToken
from homeserver.services.client_events import ClientEvents, EventForm
from homeserver.services.ignored_users import Unwanted
from homeserver.services.presence import Presence
from homeserver.services.room_state import RoomStates
from homeserver.services.typing_users import TypingNews
from homeserver.storage.database import Transaction

MAX_TIMEOUT_MS = 10 * 60 * 1000
"""How long a request waits at most, whatever it asks for."""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of /sync. since: a position of the stream; None for an initial sync. timeout_ms: how long to wait.
    typing: as in the token that `since` is from. set_presence: what the device makes of its user's presence; None: `online`.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
    """

    requester: Requester
    filter: Filter
    since: int | None = None
    full_state: bool = False
    timeout_ms: int = 0
    use_state_after: bool = False
    typing: int | None = None
    set_presence: str | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """One reading of the database for one answer, which shows all up to `position`.

    typing: who is typing, as it stood before. unwanted: what the user does not want to be told. known_members: the member events
    that the device has. sent_members: those that this answer brings, as far as lazy-loading has to remember them. typing_rooms:
    where the reader knows of somebody typing then.
    """

    tx: Transaction
    request: SyncRequest
    position: int
    states: RoomStates
    events: ClientEvents
    typing: TypingNews
    presence: Presence
    unwanted: Unwanted
    known_members: Collection[str] = ()
    sent_members: set[str] = field(default_factory=set)
    typing_rooms: set[str] = field(default_factory=set)

    @property
    def form(self) -> EventForm:
        """The form in which the reader wants events."""
        wanted = self.request.filter
        return EventForm(
            with_room_id=False,
            is_federation=wanted.event_format == "federation",
            fields=wanted.event_fields,
        )

    @property
    def next_batch(self) -> SyncToken:
        """How far the reader has read with the answer."""
        return SyncToken(self.position, self.typing.number if self.typing_rooms else None)

    def is_news(self, position: int) -> bool:
        """Whether what has this position of the stream came after what the reader has, and belongs into this answer."""
        since = self.request.since
        return (since is None or position > since) and position <= self.position

    @property
    def user_id(self) -> str:
        """Who reads."""
        return self.request.requester.user_id
