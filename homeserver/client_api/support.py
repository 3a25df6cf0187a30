"""Whom to ask for help.

Spec: https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
"""

from __future__ import annotations

from typing import Any

from homeserver.config import ServerSettings
from homeserver.core.errors import not_found
from homeserver.http import NO_AUTH, endpoint


@endpoint("GET", "/.well-known/matrix/support", auth=NO_AUTH)
async def get_wellknown_support(settings: ServerSettings) -> dict[str, Any]:
    """The operator's contacts and support page. Raises M_NOT_FOUND when there are none.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
    """
    support = settings.well_known_support
    answer: dict[str, Any] = {}
    if support.contacts:
        answer["contacts"] = [
            {
                key: value
                for key, value in (
                    ("role", contact.role),
                    ("matrix_id", contact.matrix_id),
                    ("email_address", contact.email_address),
                )
                if value is not None
            }
            for contact in support.contacts
        ]
    if support.support_page is not None:
        answer["support_page"] = support.support_page
    if not answer:
        raise not_found("No support information is available")
    return answer
