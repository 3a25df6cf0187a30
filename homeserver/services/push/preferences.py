"""What users have set that decides on their notifications, in memory: their push rules, and whom they ignore."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from homeserver.core.push_rules import Ruleset, asks_for_name, changes_from, ruleset
from homeserver.services.ignored_users import IGNORED_USER_LIST, ignored_in
from homeserver.storage import account_data, push_rules
from homeserver.storage.database import Transaction

MAX_USERS = 50_000
MAX_ASKED = 2_000
MAX_BYTES = 32 * 1024 * 1024
"""Of what users have set, as it is stored."""


@dataclass(frozen=True, slots=True)
class Preference:
    """rules: None for a user who has changed nothing of the default ones. asks_for_name: whether a rule depends on what the user
    is called in the room. size: in bytes, as it is stored."""

    rules: Ruleset | None = None
    asks_for_name: bool = False
    ignored: frozenset[str] = frozenset()
    size: int = 0


_USUAL = Preference()


class Preferences:
    """Knows what users have set. One query finds who has changed something since it was last asked.

    To be asked only in units of work that have taken a position of the stream: they come one after the other, and nobody else
    can change something meanwhile.
    """

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._known: OrderedDict[str, Preference] = OrderedDict()
        self._size = 0
        self._settled = -1
        # The answers for collections that were asked about, which are kept so that no others get their identity.
        self._asked: OrderedDict[int, tuple[Collection[str], Mapping[str, Preference]]] = OrderedDict()

    async def changed(
        self, tx: Transaction, user_ids: Collection[str], settled: int
    ) -> Mapping[str, Preference]:
        """What those of these users have set who have set something. `user_ids` is remembered by its identity.

        settled: a position below those of this unit of work, which may be undone.
        """
        if self._settled >= 0:
            for user_id in await push_rules.preferences_changed(tx, self._settled):
                self._drop(user_id)
                self._asked.clear()
        self._settled = settled
        asked = self._asked.get(id(user_ids))
        if asked is not None and asked[0] is user_ids:
            return asked[1]
        unknown = [user_id for user_id in user_ids if user_id not in self._known]
        if unknown:
            await self._load(tx, unknown)
        found = {user_id: self._known[user_id] for user_id in user_ids}
        found = {user_id: each for user_id, each in found.items() if each is not _USUAL}
        self._asked[id(user_ids)] = user_ids, found
        while len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)
        while len(self._known) > MAX_USERS or self._size > MAX_BYTES:
            self._drop(next(iter(self._known)))
        return found

    async def _load(self, tx: Transaction, user_ids: list[str]) -> None:
        changed = await push_rules.get_many(tx, user_ids)
        ignored = await account_data.of_types(tx, user_ids, [IGNORED_USER_LIST])
        for user_id in user_ids:
            stored, listed = changed.get(user_id), ignored.get((user_id, IGNORED_USER_LIST))
            if stored is None and listed is None:
                self._known[user_id] = _USUAL
                continue
            rules = None if stored is None else ruleset(user_id, changes_from(json.loads(stored.changes)))
            preference = Preference(
                rules,
                rules is not None and asks_for_name(rules),
                ignored_in(user_id, listed),
                (0 if stored is None else len(stored.changes)) + len(listed or b""),
            )
            self._known[user_id] = preference
            self._size += preference.size

    def _drop(self, user_id: str) -> None:
        if (preference := self._known.pop(user_id, None)) is not None:
            self._size -= preference.size
