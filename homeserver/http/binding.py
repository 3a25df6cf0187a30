"""Binds a handler's parameters once, at start: services by class, the rest by name from each request."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from homeserver.core.errors import not_json
from homeserver.http.decoding import CLIENT_DEPTH, QueryDecoder, convert_body, decode_content
from homeserver.http.endpoint import Auth, Endpoint
from homeserver.http.request import Request

T = TypeVar("T")


class BindingError(Exception):
    """A handler asks for something that is not there: a mistake of ours, found at start."""


class Services:
    """The objects that handlers can ask for, found by class or base class."""

    def __init__(self, services: Iterable[object]) -> None:
        self._by_class: dict[type, list[Any]] = {}
        for service in services:
            for cls in type(service).__mro__[:-1]:
                self._by_class.setdefault(cls, []).append(service)

    def find(self, cls: type[T]) -> T:
        """Raises BindingError unless exactly one service is of this class."""
        found = self._by_class.get(cls, [])
        if len(found) != 1:
            raise BindingError(
                f"{len(found)} services are a {getattr(cls, '__name__', cls)}; exactly one is needed"
            )
        service: T = found[0]
        return service


class BoundEndpoint:
    """An endpoint with its services, ready to be called with requests."""

    def __init__(self, endpoint: Endpoint, services: Services) -> None:
        self.endpoint = endpoint
        self._fixed: dict[str, Any] = {}
        self._request_parameter = False
        self._path_parameters: list[str] = []
        self._body_type: Any = None
        self._query: QueryDecoder | None = None
        try:
            hints = typing.get_type_hints(endpoint.handler, include_extras=True)
            for parameter in inspect.signature(endpoint.handler).parameters.values():
                self._bind(parameter, hints.get(parameter.name), services)
        except (BindingError, NameError) as error:
            raise BindingError(f"{endpoint.handler.__module__}.{endpoint.operation}: {error}") from error
        unused = set(endpoint.parameters) - set(self._path_parameters)
        if unused:
            raise BindingError(f"{endpoint.operation} takes no parameter for {', '.join(sorted(unused))}")

    def _bind(self, parameter: inspect.Parameter, hint: Any, services: Services) -> None:
        name = parameter.name
        if name in self.endpoint.parameters:
            self._path_parameters.append(name)
        elif name == "request":
            self._request_parameter = True
        elif name == "body":
            self._body_type = hint
        elif name == "query":
            self._query = QueryDecoder(hint)
        elif parameter.default is inspect.Parameter.empty:
            self._fixed[name] = services.find(hint)

    async def arguments(self, request: Request) -> dict[str, Any]:
        """The handler's arguments; reads and decodes the body and query if it takes them.

        Raises M_NOT_JSON, M_BAD_JSON, M_TOO_LARGE, M_MISSING_PARAM, M_INVALID_PARAM.
        """
        arguments = dict(self._fixed)
        if self._request_parameter:
            arguments["request"] = request
        for name in self._path_parameters:
            arguments[name] = request.path_parameters[name]
        if self._query is not None:
            arguments["query"] = self._query.decode(request.query)
        if self._body_type is not None:
            arguments["body"] = await self._body(request)
        return arguments

    async def _body(self, request: Request) -> Any:
        signed = self.endpoint.auth is Auth.SIGNED_REQUEST  # then it is read and decoded already
        if not signed:
            request.content = await request.read(self.endpoint.max_body)
        if self._body_type is bytes:
            return request.content
        if request.content:
            value = request.json if signed else await decode_content(request.content, max_depth=CLIENT_DEPTH)
        elif isinstance(self._body_type, type) and issubclass(self._body_type, msgspec.Struct):
            # Many clients send nothing where every key is optional; required keys are still missed.
            value = {}
        else:
            raise not_json("The body is empty; it must be JSON")
        return convert_body(value, self._body_type)
