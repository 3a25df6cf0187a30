"""Joining large rooms: how much memory the answer takes. JOIN_MEGABYTES=50 for the size of the largest public rooms."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer
from tests.support.large_answer import write_answer
from tests.support.memory import peak, reset_peak

MEGABYTES = int(os.environ.get("JOIN_MEGABYTES", "8"))


def allowed(megabytes: int) -> int:
    """How many bytes of memory an answer may take: 300 MB for one of 50 MB. A part of it are the caches of the database."""
    return (30 << 20) + int(5.4 * (megabytes << 20))


async def test_a_large_answer_takes_a_few_times_its_size_in_memory(
    ours: FederatingServer,
    peer: FederationPeer,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    room = peer.room("10")
    path = tmp_path / "answer.json"
    members = await write_answer(path, room, MEGABYTES)
    peer.answers["send_join"] = lambda _: web.FileResponse(path)
    before = reset_peak()
    started = time.monotonic()
    await ours.joins.join(ours.user("bob"), room.room_id, [peer.server_name], {})
    grown = peak() - before
    record_property(
        "figure",
        f"an answer of {MEGABYTES} MB with {members} members: {grown >> 20} MiB of memory, {time.monotonic() - started:.1f} s",
    )
    assert len(await ours.members(room.room_id)) == members + 2
    assert grown < allowed(MEGABYTES)
