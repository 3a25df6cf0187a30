"""What this server's own doctor asks it through its public address: what arrived of a request, how much of an upload, and an
answer after a while.

Only who holds the signing key is answered.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.config import MediaSettings
from homeserver.doctor.echo import ECHO, HEAD_BYTES, UPLOAD, WAIT, Echoes, what_arrived
from homeserver.http import NO_AUTH, Request, endpoint

MOST_SECONDS = 120.0


class WaitQuery(Struct):
    """How long to wait, in seconds."""

    seconds: Annotated[float, Meta(ge=0, le=MOST_SECONDS)] = 30.0


# A proxy that decodes %2F makes more segments of what was one.
@endpoint("PUT", ECHO + "/{first}", auth=NO_AUTH)
@endpoint("PUT", ECHO + "/{first}/{second}", auth=NO_AUTH)
@endpoint("PUT", ECHO + "/{first}/{second}/{third}", auth=NO_AUTH)
@endpoint("PUT", ECHO + "/{first}/{second}/{third}/{fourth}", auth=NO_AUTH)
async def echo(
    request: Request,
    first: str,
    body: dict[str, Any],
    echoes: Echoes,
    second: str = "",
    third: str = "",
    fourth: str = "",
) -> dict[str, Any]:
    """What arrived of a request between servers.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
    """
    echoes.check(body)
    headers = request.headers
    return what_arrived(
        request.method,
        request.uri,
        headers.get("Host", ""),
        request.address,
        headers.getall("X-Forwarded-For", []),
        headers.getall("Authorization", []),
    )


@endpoint("POST", WAIT, auth=NO_AUTH)
async def wait(query: WaitQuery, body: dict[str, Any], echoes: Echoes) -> dict[str, Any]:
    """An answer after a while, as of a long poll.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#syncing
    """
    echoes.check(body)
    await asyncio.sleep(query.seconds)
    return {}


@endpoint("POST", UPLOAD, auth=NO_AUTH)
async def upload(request: Request, echoes: Echoes, media: MediaSettings) -> dict[str, Any]:
    """How many bytes of an upload arrive. They are kept nowhere; whoever is not the doctor is sent away after the first few.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
    """
    chunks = request.chunks(max(media.max_upload_size, HEAD_BYTES))
    head = b""
    while len(head) < HEAD_BYTES and (chunk := await anext(chunks, b"")):
        head += chunk
    echoes.check_upload(head[:HEAD_BYTES])
    return {"bytes": len(head) + sum([len(chunk) async for chunk in chunks])}
