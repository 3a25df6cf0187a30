"""Whose error page came in place of a Matrix server's answer: of a reverse proxy, by its words or its headers. Pure."""

from __future__ import annotations

from homeserver.doctor.facts import HTTPAnswer
from homeserver.doctor.findings import Finding, problem

PROXY_REMEDY = (
    "look at the proxy's configuration: /_matrix must reach the server unchanged (docs/reverse-proxy.md)"
)
NO_BACKEND_REMEDY = (
    "the proxy does not reach the server: is it running, and is the address and port in the "
    "proxy's configuration right?"
)
# Beginnings or parts of bodies that some proxies make without naming themselves in the header Server.
WORDS: tuple[tuple[bytes, str], ...] = (
    (b"No server is available to handle this request", "HAProxy"),
    (b"The server returned an invalid or incomplete response", "HAProxy"),
    (b"The server didn't respond in time", "HAProxy"),
    (b"Your browser sent an invalid request", "HAProxy"),
    (b"404 page not found", "Traefik or another program in Go"),
)
NO_BACKEND = (502, 503, 504, 521, 522, 523)
# Cloudflare's own: https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
CERTIFICATE_REFUSED = (525, 526)


def made_by(answer: HTTPAnswer) -> str:
    """What made an answer, as it calls itself or by its words; empty when it does not show."""
    if "cf-ray" in answer.headers:
        return "Cloudflare"
    return answer.server or next((name for words, name in WORDS if words in answer.body[:2_000]), "")


def judge_error_page(answer: HTTPAnswer, looked_at: str) -> Finding:
    """The finding on an answer that is no Matrix server's."""
    maker = made_by(answer)
    by = f" by {maker:.60}" if maker else ""
    status = f"status {answer.status}{by}"
    if "cf-mitigated" in answer.headers:
        remedy = "servers solve no riddles: switch the protection from bots off for /_matrix and /.well-known/matrix"
        return problem("proxy-challenge", looked_at, f"{status}: a riddle for browsers", remedy)
    if answer.status in NO_BACKEND:
        return problem("proxy-no-backend", looked_at, status, NO_BACKEND_REMEDY)
    if answer.status in CERTIFICATE_REFUSED:
        remedy = "the proxy does not take the certificate of the server behind it: give that one it can check, or plain HTTP"
        return problem("proxy-refuses-certificate", looked_at, status, remedy)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "?")
        remedy = "servers follow no redirects here: " + PROXY_REMEDY
        return problem("http-redirect", looked_at, f"redirected to {target:.200}{by}", remedy)
    if answer.status == 404:
        remedy = f"something other than the server answers /_matrix: {PROXY_REMEDY}"
        return problem("proxy-wrong-path", looked_at, f"status 404 and no Matrix error{by}", remedy)
    return problem("http-not-matrix", looked_at, f"status {answer.status} and no JSON{by}", PROXY_REMEDY)
