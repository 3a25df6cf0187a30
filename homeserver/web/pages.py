"""How pages are made from their templates."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import jinja2

from homeserver.http import Response

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("homeserver.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page that loads nothing from elsewhere, runs no scripts but its own, and stands in no frame."""
    nonce = base64.b64encode(secrets.token_bytes(16)).decode()
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    html = _environment.get_template(template).render(values, nonce=nonce)
    return Response(status, html.encode(), headers)
