"""Counters of outbound federation. Labels are few and bounded: never a server name."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

requests = Counter(
    "homeserver_federation_client_requests_total",
    "Requests to other servers, by how they ended ('ok' or the stage that failed).",
    ["result"],
)
request_seconds = Histogram(
    "homeserver_federation_client_request_seconds",
    "Duration of requests to other servers, from discovery to the last byte.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
well_known_fetches = Counter(
    "homeserver_federation_well_known_fetches_total",
    "Fetches of /.well-known/matrix/server, by how they ended.",
    ["result"],
)
key_fetches = Counter(
    "homeserver_federation_key_fetches_total",
    "Fetches of other servers' signing keys, by source ('direct' or 'notary') and how they ended.",
    ["source", "result"],
)
event_signatures = Counter(
    "homeserver_federation_event_signatures_total",
    "Events whose signatures were checked, by result.",
    ["result"],
)
