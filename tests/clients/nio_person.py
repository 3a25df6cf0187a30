"""A person with matrix-nio, which is in an environment of its own: .test-env/nio."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import nio

PASSWORD = "correct horse battery staple"
SYNC_TIMEOUT = 30_000  # longer than a step may take: what arrives in time has woken the long poll
STEP_SECONDS = 10
NO_RETRIES = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0)
LAZY = {"lazy_load_members": True}

Answer = TypeVar("Answer")


def expect(answer: Any, kind: type[Answer]) -> Answer:
    """The answer, which has to be of this kind; nio returns errors as answers of another."""
    assert isinstance(answer, kind), f"expected {kind.__name__}, got {answer!r}"
    return answer


class Person:
    """A client whose sync loop runs beside the test, and what it has seen."""

    def __init__(self, base_url: str, localpart: str, server_name: str) -> None:
        self.localpart = localpart
        self.user_id = f"@{localpart}:{server_name}"
        self.client = nio.AsyncClient(base_url, self.user_id, config=NO_RETRIES)
        self.seen: list[Any] = []
        self.left: set[str] = set()
        self.client.add_event_callback(self._see, nio.Event)
        self.client.add_event_callback(self._see, nio.InviteEvent)
        self.presence: dict[str, nio.PresenceEvent] = {}  # of whom we know, by user ID
        self.push_rules: nio.PushRuleset | None = None
        self.client.add_presence_callback(self._see_presence, nio.PresenceEvent)
        self.client.add_global_account_data_callback(self._see_push_rules, nio.PushRulesEvent)
        self._changed = asyncio.Event()
        self.client.add_response_callback(self._synced, nio.SyncResponse)
        self._loop: asyncio.Task[None] | None = None

    async def _see(self, _: nio.MatrixRoom, event: Any) -> None:
        self.seen.append(event)

    async def _see_presence(self, event: nio.PresenceEvent) -> None:
        self.presence[event.user_id] = event

    async def _see_push_rules(self, event: nio.PushRulesEvent) -> None:
        self.push_rules = event.global_rules

    async def _synced(self, answer: nio.SyncResponse) -> None:
        # nio keeps a room that one has left; only the answer itself says so.
        for room_id, room in answer.rooms.leave.items():
            self.left.add(room_id)
            self.seen += room.timeline.events
        self.left -= answer.rooms.join.keys()
        self._changed.set()

    async def register_and_log_in(self) -> None:
        """A new account, its first session ended, and a second one by password."""
        registered = expect(
            await self.client.register(self.localpart, PASSWORD, "phone"), nio.RegisterResponse
        )
        assert registered.user_id == self.user_id
        expect(await self.client.logout(), nio.LogoutResponse)
        expect(await self.client.login("not the password"), nio.LoginError)
        login = expect(await self.client.login(PASSWORD, "laptop"), nio.LoginResponse)
        who = expect(await self.client.whoami(), nio.WhoamiResponse)
        assert (who.user_id, who.device_id, who.is_guest) == (self.user_id, login.device_id, False)

    def start_syncing(self, sync_filter: Any = None) -> None:
        """Run sync_forever."""
        self._loop = asyncio.create_task(self.client.sync_forever(SYNC_TIMEOUT, sync_filter=sync_filter))

    async def stop_syncing(self) -> None:
        """End sync_forever; what went wrong in it comes out here."""
        if self._loop is not None:
            loop, self._loop = self._loop, None
            loop.cancel()
            await asyncio.wait([loop])
            if not loop.cancelled():
                loop.result()

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of the condition, which is looked at after every sync."""
        try:
            async with asyncio.timeout(STEP_SECONDS):
                while not (found := condition()):
                    assert self._loop is None or not self._loop.done(), f"sync_forever ended: {self._loop}"
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(
                f"{self.user_id} waited in vain for {what}; last seen: {self.seen[-3:]}"
            ) from None

    async def until_event(self, event_id: str, what: str) -> Any:
        """The event, once it has come down the sync loop."""
        return await self.until(
            lambda: next(
                (event for event in self.seen if getattr(event, "event_id", None) == event_id), None
            ),
            what,
        )

    async def say(self, room_id: str, text: str) -> str:
        """Send a message; its event ID."""
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        """Send a message event of any type; its event ID."""
        answer = await self.client.room_send(room_id, event_type, content)
        return expect(answer, nio.RoomSendResponse).event_id
