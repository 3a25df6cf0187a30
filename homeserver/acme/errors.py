"""Why there is no certificate."""

from __future__ import annotations

import datetime


class ACMEError(Exception):
    """No certificate was obtained; the text says why and what to do.

    `wait`: how long the ACME server wants to be left alone, if it said so.
    """

    def __init__(self, text: str, wait: datetime.timedelta | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class ChallengeFailed(ACMEError):
    """This challenge could not be answered, or was answered in vain; another one may do."""
