"""Applications made of a few handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from multidict import CIMultiDictProxy

from homeserver.core.errors import unauthorized, unknown_token
from homeserver.core.requester import Requester
from homeserver.http import Authenticators, RateLimiter, Request, build_application
from tests.support.client import Client, serving

ALICE = Requester("@alice:test", "DEVICE", 1)


async def access_token(token: str, request: Request) -> Requester:
    if token != "alices":
        raise unknown_token("Unrecognised access token")
    return ALICE


class SignedRequests:
    """Accepts what has the header `Authorization: X-Matrix good` and notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    async def __call__(self, method: str, uri: str, headers: CIMultiDictProxy[str], content: Any) -> str:
        if "X-Matrix good" not in headers.getall("Authorization", []):
            raise unauthorized("no")
        self.seen.append((method, uri, content))
        return "remote.test"


@asynccontextmanager
async def served(
    *handlers: Callable[..., Any],
    services: tuple[object, ...] = (),
    signed: SignedRequests | None = None,
    limits: RateLimiter | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """A client of an application with these handlers."""
    application = build_application(
        [declared for handler in handlers for declared in handler.endpoints],  # type: ignore[attr-defined]
        services,
        Authenticators(access_token, signed or SignedRequests()),
        limits,
        **options,
    )
    async with serving(application) as client:
        yield client
