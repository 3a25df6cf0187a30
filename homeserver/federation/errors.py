"""How a request to another server fails."""

from __future__ import annotations

from typing import Any, Literal

Stage = Literal[
    "discovery",  # the server name could not be turned into a host and port
    "dns",  # the host has no address
    "blocked",  # our own settings forbid the server or its address
    "connect",  # no TCP connection, or it was lost
    "tls",  # the certificate or the handshake is wrong
    "timeout",  # the time for the whole request ran out
    "limit",  # the answer is larger than we accept
    "http",  # the server answered with an error, or not in HTTP
    "json",  # the answer is not JSON
    "answer",  # the answer is JSON, but not what the endpoint promises
    "request",  # the request itself cannot be sent (a body that is not canonical JSON): our own mistake
]

# How far a request came that failed at a stage, for people.
HOW_FAR: dict[Stage, str] = {
    "discovery": "finding the server",
    "dns": "DNS",
    "blocked": "this server's settings",
    "connect": "connecting",
    "tls": "TLS",
    "timeout": "waiting for the answer",
    "limit": "reading the answer",
    "http": "HTTP",
    "json": "reading the answer",
    "answer": "checking the answer",
    "request": "making the request",
}


class FederationError(Exception):
    """A request to another server failed.

    `destination` is the server name that was asked, `stage` says how far the request came, `reason` is one
    sentence for people. `status`, `errcode` and `body` hold the answer if there was one (`body` is the
    decoded JSON object).
    """

    def __init__(
        self,
        destination: str,
        stage: Stage,
        reason: str,
        *,
        status: int | None = None,
        errcode: str | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{destination}: {stage}: {reason}")
        self.destination = destination
        self.stage: Stage = stage
        self.reason = reason
        self.status = status
        self.errcode = errcode
        self.body = body

    @property
    def unrecognised(self) -> bool:
        """Whether the other server does not know the endpoint, so that an older one should be tried.

        Servers before v1.4 of the specification answer an unknown path with a bare 404 or 400 with
        M_UNRECOGNIZED.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#unsupported-endpoints
        """
        if self.stage != "http":
            return False
        if self.errcode == "M_UNRECOGNIZED":
            return self.status in (400, 404, 405, 501)
        return self.errcode is None and self.status in (404, 405)

    @property
    def how_far(self) -> str:
        """How far the request came, for people: DNS, connecting, TLS, HTTP, signature, auth and such."""
        if self.stage == "http" and self.status == 401:
            return "signature"
        if self.stage == "http" and self.status == 403:
            return "auth"
        return HOW_FAR[self.stage]

    @property
    def whose_turn(self) -> str:
        """Who can mend it, for people; empty where the server simply refuses."""
        match self.stage:
            case "blocked" | "request":
                return "this server's operator"
            case "http" if self.status == 401:
                return "this server's operator"
            case "http" if self.status is not None and self.status < 500:
                return ""
            case _:
                return f"the operator of {self.destination}"

    @property
    def temporary(self) -> bool:
        """Whether the same request may well succeed later without anybody changing anything on our side."""
        if self.stage == "http":
            return self.status is None or self.status == 429 or self.status >= 500
        return self.stage not in ("blocked", "request", "answer", "json", "limit")
