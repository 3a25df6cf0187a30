"""The endpoint decorator: a handler's method, paths, authentication and limits stand where the handler
stands.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, TypeVar

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)


class Auth(Enum):
    """How a request proves who sends it."""

    NO_AUTH = "none"
    ACCESS_TOKEN = "access token"
    OPTIONAL_ACCESS_TOKEN = "optional access token"
    SIGNED_REQUEST = "signed request"


NO_AUTH = Auth.NO_AUTH
ACCESS_TOKEN = Auth.ACCESS_TOKEN
OPTIONAL_ACCESS_TOKEN = Auth.OPTIONAL_ACCESS_TOKEN
SIGNED_REQUEST = Auth.SIGNED_REQUEST

# Bytes of a request body. A stranger is trusted with less than a user; a federation transaction holds up to
# 50 PDUs of 64 KiB and 100 EDUs.
MAX_BODY = {
    Auth.NO_AUTH: 64 * 1024,
    Auth.OPTIONAL_ACCESS_TOKEN: 64 * 1024,
    Auth.ACCESS_TOKEN: 4 * 1024 * 1024,
    Auth.SIGNED_REQUEST: 16 * 1024 * 1024,
}

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation: what the application routes and the structure tests read.

    `operation` is the handler's name, the specification's operationId in snake case. `resource` is what a
    listener must serve for the endpoint to be there: client, federation, keys, openid or health. `cancellable`
    handlers stop when the client goes away; the others are finished, because they have begun to change
    something. `in_turn`: of a signed request, whether it counts for what one server may ask at once (rc_federation).
    """

    method: str
    path: str
    aliases: tuple[str, ...]
    auth: Auth
    limit: str | None
    max_body: int
    cancellable: bool
    in_turn: bool
    resource: str
    operation: str
    handler: Handler

    @property
    def paths(self) -> tuple[str, ...]:
        """The path and its aliases."""
        return (self.path, *self.aliases)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path parameters, in order."""
        return tuple(_PARAMETER.findall(self.path))


def endpoint(
    method: str,
    path: str,
    *,
    auth: Auth,
    aliases: tuple[str, ...] = (),
    limit: str | None = None,
    max_body: int | None = None,
    cancellable: bool | None = None,
    in_turn: bool = True,
) -> Callable[[H], H]:
    """Declare a handler as an endpoint. A handler may carry several.

    `limit` names a rate limit given to `build_application`. `max_body` is in bytes (default: by `auth`).
    `cancellable` defaults to True for GET alone.
    `in_turn` is for signed requests: False for what has limits of its own. Aliases have the same path parameters as the path.
    """

    def declare(handler: H) -> H:
        declared = Endpoint(
            method=method,
            path=path,
            aliases=aliases,
            auth=auth,
            limit=limit,
            max_body=MAX_BODY[auth] if max_body is None else max_body,
            cancellable=method == "GET" if cancellable is None else cancellable,
            in_turn=in_turn and auth is Auth.SIGNED_REQUEST,
            resource=resource_of(path),
            operation=getattr(handler, "__name__", ""),
            handler=handler,
        )
        for alias in aliases:
            if tuple(_PARAMETER.findall(alias)) != declared.parameters:
                raise ValueError(f"{alias} has not the path parameters of {path}")
        # Decorators apply from the bottom up; the list reads from the top down.
        handler.__dict__.setdefault("endpoints", []).insert(0, declared)
        return handler

    return declare


def endpoints_of(module: ModuleType) -> list[Endpoint]:
    """The endpoints declared in a module, in the order of its source."""
    found: list[Endpoint] = []
    for value in vars(module).values():
        if callable(value) and getattr(value, "__module__", None) == module.__name__:
            found.extend(getattr(value, "__dict__", {}).get("endpoints", []))
    return found


def endpoints_in(package: str) -> list[Endpoint]:
    """The endpoints of every module of a package, called while the package is imported."""
    names = sorted(module.name for module in pkgutil.iter_modules(sys.modules[package].__path__))
    return [found for name in names for found in endpoints_of(importlib.import_module(f"{package}.{name}"))]


OPENID_PATH = "/_matrix/federation/v1/openid/userinfo"
"""What services ask that speak with no server otherwise: a listener may serve it without the rest of federation."""


def resource_of(path: str) -> str:
    """The listener resource a path belongs to."""
    if path == OPENID_PATH:
        return "openid"
    if path.startswith("/_matrix/federation/") or path == "/.well-known/matrix/server":
        return "federation"
    if path.startswith("/_matrix/key/"):
        return "keys"
    if path == "/health":
        return "health"
    return "client"
