"""Transcripts: a request that waits for news ends at once when its session does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from homeserver.core.requester import Requester
from homeserver.services.sessions import Sessions
from homeserver.storage.database import DatabaseError
from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, sync

PASSWORD = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
AUTH = {**PASSWORD, "password": "a password"}
ENOUGH_S = 30.0
"""Much less than the requests wait for."""

End = Callable[[Client, Client], Awaitable[Answer]]


async def log_out(alice: Client, _: Client) -> Answer:
    return await alice.post(f"{V3}/logout", {})


async def log_out_everywhere(alice: Client, _: Client) -> Answer:
    return await alice.post(f"{V3}/logout/all", {})


async def delete_device(alice: Client, _: Client) -> Answer:
    return await alice.request("DELETE", f"{V3}/devices/{alice.device_id}", {"auth": AUTH})


async def deactivate(alice: Client, _: Client) -> Answer:
    return await alice.post(f"{V3}/account/deactivate", {"auth": AUTH})


async def lock(alice: Client, root: Client) -> Answer:
    return await root.put(f"/_matrix/client/v1/admin/lock/{quote(alice.user_id)}", {"locked": True})


async def suspend(alice: Client, root: Client) -> Answer:
    return await root.put(f"/_matrix/client/v1/admin/suspend/{quote(alice.user_id)}", {"suspended": True})


async def position(alice: Client) -> str:
    """Where a /sync after this one waits."""
    since = ""
    while True:
        answer = await sync(alice, since or None)
        since = answer["next_batch"]
        if not {"rooms", "account_data", "presence"} & answer.keys():
            return since


@asynccontextmanager
async def waiting(client: Client, path: str) -> AsyncIterator[asyncio.Task[Answer]]:
    """A request that waits for ten minutes."""
    task = asyncio.create_task(client.get(path))
    try:
        # It has come in when another that was sent later is answered, and both are read in turn.
        for _ in range(3):
            (await client.get(f"{V3}/account/whoami")).ok()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("end", [log_out, log_out_everywhere, delete_device, deactivate])
async def test_what_ends_a_session_ends_its_sync(alice: Client, root: Client, end: End) -> None:
    path = f"{V3}/sync?timeout=600000&set_presence=offline&since={await position(alice)}"
    async with waiting(alice, path) as task:
        (await end(alice, root)).ok()
        body = (await asyncio.wait_for(task, ENOUGH_S)).refused(401, "M_UNKNOWN_TOKEN")
        assert not body.get("soft_logout")


async def test_a_locked_user(alice: Client, root: Client) -> None:
    path = f"{V3}/sync?timeout=600000&set_presence=offline&since={await position(alice)}"
    async with waiting(alice, path) as task:
        (await lock(alice, root)).ok()
        body = (await asyncio.wait_for(task, ENOUGH_S)).refused(401, "M_USER_LOCKED")
        assert body["soft_logout"] is True


async def test_the_old_stream_of_events_too(alice: Client, root: Client) -> None:
    # Who asks for /events is online, which is news to oneself too unless one was so before.
    await sync(alice, set_presence="online")
    async with waiting(alice, f"{V3}/events?timeout=600000") as task:
        (await log_out(alice, root)).ok()
        (await asyncio.wait_for(task, ENOUGH_S)).refused(401, "M_UNKNOWN_TOKEN")


async def test_other_sessions_and_suspended_users_wait_on(
    whole: WholeServer, alice: Client, root: Client
) -> None:
    answer = (await whole.client.post(f"{V3}/login", AUTH)).ok()
    phone = whole.client.with_token(answer["access_token"], answer["user_id"], answer["device_id"])
    path = f"{V3}/sync?timeout=600000&set_presence=offline&since={await position(phone)}"
    async with waiting(phone, path) as task:
        (await suspend(alice, root)).ok()
        (await log_out(alice, root)).ok()
        (await phone.get(f"{V3}/account/whoami")).ok()
        assert not task.done()
        room_id = await create_room(root, invite=[alice.user_id])
        assert room_id in (await asyncio.wait_for(task, ENOUGH_S)).ok()["rooms"]["invite"]


async def test_a_request_that_cannot_be_checked_ends(
    ours: WholeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails just then: the client asks again, and is checked."""
    authenticate = Sessions.authenticate
    failures: list[bool] = []

    async def sometimes(sessions: Sessions, token: str) -> Requester:
        if failures and failures.pop():
            raise DatabaseError("the connection is lost")
        return await authenticate(sessions, token)

    alice = await ours.register("alice")
    path = f"{V3}/sync?timeout=600000&set_presence=offline&since={await position(alice)}"
    async with waiting(alice, path) as task:
        monkeypatch.setattr(Sessions, "authenticate", sometimes)
        failures[:] = [True, False]  # taken from the end: first comes the request that logs out
        (await log_out(alice, alice)).ok()
        (await asyncio.wait_for(task, ENOUGH_S)).refused(500, "M_UNKNOWN")
        (await alice.get(path)).refused(401, "M_UNKNOWN_TOKEN")
