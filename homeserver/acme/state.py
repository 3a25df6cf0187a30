"""What is kept on disk between tries: how the last ones went."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from homeserver.tls import write_whole

log = logging.getLogger(__name__)


class State(msgspec.Struct, kw_only=True):
    """How the last tries went. Times are in milliseconds since 1970."""

    asked_for: str = ""
    """What was to be obtained, from whom and how: when that changes, earlier failures do not count."""
    failures: int = 0
    """Tries without success since the last success. A try counts from its beginning, so that a crash is a failure too."""
    last_attempt_ts: int = 0
    next_attempt_ts: int = 0
    """Before this the ACME server is left alone."""
    last_failure: str = ""
    issued_by: str = ""
    """The directory of the ACME server whose certificate is in use."""
    challenge: str = ""
    """The one that was answered with success."""
    account_url: str = ""
    """For people: the account is found by its key."""


def read_state(path: Path) -> State:
    """The state of before; a new one when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return State()
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s cannot be read (%s), so how earlier tries went is forgotten", path, error)
        return State()


def write_state(path: Path, state: State) -> None:
    """Keep it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, msgspec.json.format(msgspec.json.encode(state)), 0o600)
