"""What several operations answer alike."""

from __future__ import annotations

from typing import Any

from homeserver.services.sessions import Session


def session_answer(session: Session) -> dict[str, Any]:
    """What a client is told of its new session.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens
    """
    answer: dict[str, Any] = {"access_token": session.access_token}
    if session.refresh_token is not None:
        answer["refresh_token"] = session.refresh_token
    if session.expires_in_ms is not None:
        answer["expires_in_ms"] = session.expires_in_ms
    return answer
