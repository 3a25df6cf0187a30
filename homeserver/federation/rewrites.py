"""What proxies do to requests on their way: found by comparing what was sent with what arrived. Pure.

A request between servers is signed over its path and query as they are on the wire, so that whatever changes them makes every
request end in 401.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from homeserver.federation.proxy_lines import lines

UNCHANGED = "let the proxy pass paths on as they come: "

SAFE = ("$:@-._~", "!$:@-._~", "!$&'()*+,;=:@-._~")
"""What servers leave in paths as it is, beside letters and digits: each some of what RFC 3986 allows."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One thing that was changed.

    code: such as `path-decoded`; found: in words; advice: what to change; topic: of the lines of each proxy that do it, if any.
    """

    code: str
    found: str
    advice: str
    topic: str = ""

    @property
    def remedy(self) -> str:
        """What to change, whatever the proxy."""
        return self.remedy_for("")

    def remedy_for(self, maker: str) -> str:
        """What to change in the proxy that calls itself so."""
        return self.advice + (lines(self.topic, maker) if self.topic else "")


def compare_targets(sent: str, arrived: str) -> list[Rewrite]:
    """How the target of a request (path and query) was changed; empty when it was not."""
    if sent == arrived:
        return []
    sent_path, _, sent_query = sent.partition("?")
    path, _, query = arrived.partition("?")
    found = []
    if path != sent_path:
        found.append(_path_rewrite(sent_path, path))
    if query != sent_query:
        found.append(_query_rewrite(sent_query, query))
    return found


def _path_rewrite(sent: str, arrived: str) -> Rewrite:
    if sent.endswith(arrived) and arrived:
        removed = sent.removesuffix(arrived)
        return Rewrite(
            "prefix-stripped",
            f"the path lost its beginning {removed:.100}",
            "let the proxy pass the whole path on: ",
            "prefix",
        )
    if arrived.startswith("//") and _merged(arrived) != sent and sent.endswith(_merged(arrived)):
        return _path_rewrite(sent, _merged(arrived))
    if arrived.endswith(sent):
        return Rewrite(
            "prefix-added",
            f"the path got {arrived.removesuffix(sent):.100} in front",
            "take the prefix out of the proxy's target: ",
            "prefix",
        )
    if arrived.endswith(_merged(sent)) and _merged(sent) != sent:
        return Rewrite(
            "slashes-merged",
            "two slashes in the path became one",
            UNCHANGED,
            "slashes",
        )
    if _double_encoded(sent) == arrived:
        return Rewrite(
            "path-encoded-twice",
            "the percent signs of the path were encoded again",
            UNCHANGED,
            "twice",
        )
    if _decoded(sent) == _decoded(arrived) or _decoded_twice(sent) == _decoded_twice(arrived):
        return Rewrite(
            "path-decoded",
            f"the path was percent-decoded on the way: {_first_difference(sent, arrived)}",
            UNCHANGED,
            "path",
        )
    return Rewrite(
        "path-changed",
        f"the path {sent:.200} arrived as {arrived:.200}",
        UNCHANGED,
        "path",
    )


def _query_rewrite(sent: str, arrived: str) -> Rewrite:
    remedy = "let the proxy pass the query on as it comes: "
    if not arrived:
        return Rewrite("query-lost", "the query is missing", remedy, "query")
    if sorted(sent.split("&")) == sorted(arrived.split("&")):
        return Rewrite("query-reordered", "the parameters of the query are in another order", remedy, "query")
    if _decoded(sent.replace("+", " ")) == _decoded(arrived.replace("+", " ")):
        return Rewrite(
            "query-decoded",
            f"the query was decoded on the way: {_first_difference(sent, arrived)}",
            remedy,
            "query",
        )
    return Rewrite("query-changed", f"the query {sent:.200} arrived as {arrived:.200}", remedy, "query")


def as_sent(arrived: str) -> Iterator[tuple[Rewrite, str]]:
    """Targets from which a proxy may have made the one that arrived, likeliest first: one whose signature fits is what was sent."""
    path, mark, query = arrived.partition("?")
    tail = mark + query
    segments = path.split("/")
    encoded = "/".join(quote(unquote_to_bytes(each), safe="") for each in segments)
    candidates = [encoded + tail, *(_encoded_but(segments, safe) + tail for safe in SAFE)]
    candidates += [each + tail for each in _slashes_back(segments)]
    candidates += [_undoubled(path) + tail, path.replace("//", "/") + tail]
    start = path.find("/_matrix/")
    if start > 0:
        candidates.append(path[start:] + tail)
    candidates += [
        prefix + arrived
        for prefix in ("/_matrix", "/_matrix/federation", "/_matrix/federation/v1")
        if start < 0
    ]
    candidates += _queries_back(path, query)
    seen = {arrived}
    for candidate in candidates:
        if candidate not in seen:
            seen.add(candidate)
            yield compare_targets(candidate, arrived)[0], candidate


def _encoded_but(segments: list[str], safe: str) -> str:
    return "/".join(quote(unquote_to_bytes(each), safe=safe) for each in segments)


def _slashes_back(segments: list[str]) -> Iterator[str]:
    """Paths in which one or several of the slashes near the end were %2F: IDs of events and rooms can have them."""
    quoted = [quote(unquote_to_bytes(each), safe="") for each in segments]
    for joined in range(2, min(5, len(quoted) - 4) + 1):
        for start in range(len(quoted) - joined, 4, -1):
            middle = "%2F".join(quoted[start : start + joined])
            yield "/".join([*quoted[:start], middle, *quoted[start + joined :]])


def _queries_back(path: str, query: str) -> Iterator[str]:
    if not query:
        return
    pairs = [each.partition("=") for each in query.split("&")]
    yield path + "?" + "&".join(_quoted(name) + mark + _quoted(value) for name, mark, value in pairs)
    yield path + "?" + "&".join(name + mark + value.replace("%20", "+") for name, mark, value in pairs)
    yield path + "?" + "&".join(reversed(query.split("&")))
    yield path + "?" + "&".join(sorted(query.split("&")))


def _quoted(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="")


def _undoubled(path: str) -> str:
    return path.replace("%25", "%")


def _merged(path: str) -> str:
    return re.sub("//+", "/", path)


def _double_encoded(path: str) -> str:
    return path.replace("%", "%25")


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def _decoded_twice(path: str) -> str:
    return _merged(_decoded(_decoded(path)))


def _first_difference(sent: str, arrived: str) -> str:
    """The place where they part, a few characters of each."""
    at = next(
        (i for i, (a, b) in enumerate(zip(sent, arrived, strict=False)) if a != b),
        min(len(sent), len(arrived)),
    )
    return f"...{sent[at : at + 12]} arrived as ...{arrived[at : at + 12]}"
