"""A router that walks a tree of path segments: its cost grows with a path's length, not with the number of
endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from homeserver.core.errors import MatrixError, invalid_param, unrecognized

Target = TypeVar("Target")


@dataclass(slots=True)
class _Node(Generic[Target]):
    literals: dict[str, _Node[Target]] = field(default_factory=dict)
    parameter: _Node[Target] | None = None
    # method -> (names of the path parameters in order, target)
    routes: dict[str, tuple[tuple[str, ...], Target]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match(Generic[Target]):
    """`parameters` are percent-decoded exactly once."""

    target: Target
    parameters: dict[str, str]


class MethodNotAllowed(MatrixError):
    """405 M_UNRECOGNIZED: the path is known, the method is not. `allowed` are the methods it has.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
    """

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            "M_UNRECOGNIZED", f"Method {method} is not allowed here; allowed: {', '.join(allowed)}", 405
        )
        self.allowed = allowed


class Router(Generic[Target]):
    """Maps (method, raw path) to a target. A path is matched as it stands on the wire, segment by segment, so
    that an encoded `/` in a room alias or an event type does not split a segment."""

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()

    def add(self, method: str, template: str, target: Target) -> None:
        """Add a route: `template` is like `/_matrix/client/v3/rooms/{room_id}/ban`. Raises ValueError on a
        duplicate.
        """
        node = self._root
        names: list[str] = []
        for segment in template.removeprefix("/").split("/"):
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Node())
        if method in node.routes:
            raise ValueError(f"two endpoints for {method} {template}")
        node.routes[method] = (tuple(names), target)

    def match(self, method: str, raw_path: str) -> Match[Target]:
        """Find the route. Raises 404 M_UNRECOGNIZED, or 405 M_UNRECOGNIZED when only the method is wrong.

        HEAD is answered by the GET route.
        """
        wanted = "GET" if method == "HEAD" else method
        allowed: dict[str, None] = {}
        for node, values in self._nodes(raw_path):
            route = node.routes.get(wanted)
            if route is not None:
                names, target = route
                return Match(
                    target, {name: decode_segment(value) for name, value in zip(names, values, strict=True)}
                )
            allowed.update(dict.fromkeys(node.routes))
        if allowed:
            raise MethodNotAllowed(method, tuple(allowed))
        raise unrecognized(f"Unrecognized request: there is no {raw_path[:200]}")

    def _nodes(self, raw_path: str) -> Iterator[tuple[_Node[Target], list[str]]]:
        """All nodes with routes that the path leads to; literal segments come before parameters."""
        if not raw_path.startswith("/") or raw_path.count("/") > 32:
            return
        segments = raw_path[1:].split("/")
        pending: list[tuple[_Node[Target], int, list[str]]] = [(self._root, 0, [])]
        while pending:
            node, depth, values = pending.pop()
            if depth == len(segments):
                if node.routes:
                    yield node, values
                continue
            segment = segments[depth]
            # An empty parameter is one at the end only: an empty state key.
            if node.parameter is not None and (segment or depth == len(segments) - 1):
                pending.append((node.parameter, depth + 1, [*values, segment]))
            literal = node.literals.get(segment)
            if literal is None and "%" in segment:
                literal = node.literals.get(_decoded_or(segment))
            if literal is not None:
                pending.append((literal, depth + 1, values))


def decode_segment(segment: str) -> str:
    """Percent-decode one path segment once; `+` stays `+`. Raises M_INVALID_PARAM unless it is UTF-8
    without NUL.
    """
    try:
        # aiohttp hands bytes that are not UTF-8 through as lone surrogates, which this refuses too.
        decoded = unquote_to_bytes(segment.encode("utf-8")).decode("utf-8")
    except UnicodeError as error:
        raise invalid_param("The path holds bytes that are not UTF-8") from error
    if "\0" in decoded:
        raise invalid_param("The path holds a NUL character, which no identifier may have")
    return decoded


def _decoded_or(segment: str) -> str:
    try:
        return decode_segment(segment)
    except MatrixError:
        return segment
