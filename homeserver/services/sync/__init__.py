"""/sync, made of one small module per section of its answer.

`service` waits and repeats, `plan` decides which rooms are in the answer, `room` builds a joined or left room from `timeline`,
`state` and `summary`, and `stripped` builds those that the user only knows from outside.
"""

from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.service import Sync

__all__ = ["Sync", "SyncRequest"]
