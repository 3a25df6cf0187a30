"""How much of an upload arrives: for the doctor of this server alone, which signs what it sends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from signedjson.key import generate_signing_key

from homeserver.config import load_signing_keys
from homeserver.doctor import Probes, ProbeSettings
from homeserver.doctor.echo import HEAD_BYTES, UPLOAD, upload_head
from homeserver.federation.addresses import AddressFilter
from tests.support.whole import WholeServer

MOST = 300_000


@pytest.fixture
def whole_settings() -> Mapping[str, Any]:
    """A limit that is passed quickly."""
    return {"max_upload_size": MOST}


def head(whole: WholeServer, *, seconds_ago: float = 0, is_ours: bool = True) -> bytes:
    """The beginning of an upload, signed with the server's key or another."""
    key = load_signing_keys(whole.signing_key_path)[0] if is_ours else generate_signing_key("other")
    return upload_head(whole.server_name, key, int((time.time() - seconds_ago) * 1000))


@pytest.mark.parametrize("size", [HEAD_BYTES, HEAD_BYTES + 1, MOST])
async def test_what_arrives_is_counted(whole: WholeServer, size: int) -> None:
    answer = await whole.client.post(UPLOAD, content=head(whole).ljust(size, b"\0"))
    assert answer.ok() == {"bytes": size}


async def test_the_doctor_sends_in_pieces(whole: WholeServer) -> None:
    probes = Probes(ProbeSettings(AddressFilter(())))
    try:
        fetched = await probes.upload(whole.base_url + UPLOAD, head(whole), MOST - 1)
    finally:
        await probes.close()
    assert fetched.answer is not None and fetched.answer.json == {"bytes": MOST - 1}


async def test_more_than_is_allowed_is_refused(whole: WholeServer) -> None:
    answer = await whole.client.post(UPLOAD, content=head(whole).ljust(MOST + 1))
    answer.refused(413, "M_TOO_LARGE")


async def test_nobody_else_may(whole: WholeServer) -> None:
    for content in (
        b"",
        bytes(MOST),
        b"[]".ljust(HEAD_BYTES),
        head(whole, is_ours=False),
        head(whole, seconds_ago=600),
        head(whole)[:100],
    ):
        (await whole.client.post(UPLOAD, content=content)).refused(403, "M_FORBIDDEN")
