"""What handlers answer, and how it becomes bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from homeserver.core.errors import MatrixError


def _plain(value: Any) -> Any:
    """What msgspec does not know by itself: subclasses of str and int (our settings), read-only mappings."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


@dataclass(frozen=True, slots=True)
class RawJSON:
    """A body that is JSON already: bytes, or pieces of bytes that make one JSON text when joined.

    Where only a part is JSON already, put `msgspec.Raw(b"...")` into a dict: it is copied into the answer as
    it is.
    """

    data: bytes | Sequence[bytes]

    def bytes(self) -> bytes:
        """The whole body."""
        return self.data if isinstance(self.data, bytes) else b"".join(self.data)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a status or headers of its own.

    `body`: bytes are sent as they are (give a `Content-Type` header; without one it is
    `application/octet-stream`); `None` sends nothing; all else is JSON.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def encode_json(value: Any) -> bytes:
    """JSON bytes of dicts, lists, Structs and `msgspec.Raw`. Integers may have any size."""
    return _encoder.encode(value)


def to_web_response(result: Any) -> web.Response:
    """The aiohttp response for what a handler returned: JSON with status 200 unless it is a `Response`."""
    status = 200
    headers: Mapping[str, str] = {}
    if isinstance(result, Response):
        status, headers = result.status, result.headers
        if result.body is None or isinstance(result.body, bytes):
            return web.Response(status=status, body=result.body, headers=headers)
        result = result.body
    body = result.bytes() if isinstance(result, RawJSON) else encode_json({} if result is None else result)
    response = web.Response(status=status, body=body, headers=headers)
    if "Content-Type" not in headers:
        response.headers["Content-Type"] = "application/json"
    return response


def to_error_response(error: MatrixError) -> web.Response:
    """The standard error response: `errcode`, `error` and what the error adds.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
    """
    response = to_web_response(Response(error.status, error.body()))
    retry_after_ms = error.extra.get("retry_after_ms")
    if error.status == 429 and isinstance(retry_after_ms, int):
        response.headers["Retry-After"] = str(max(1, -(-retry_after_ms // 1000)))
    return response
