"""Push rules as data: kinds, single rules, and a user's whole set of them in the order in which they are checked.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-rules
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The kinds of rules, "in the order that they are checked"."""

    OVERRIDE = "override"
    CONTENT = "content"
    ROOM = "room"
    SENDER = "sender"
    UNDERRIDE = "underride"

    @property
    def has_conditions(self) -> bool:
        """Whether rules of this kind list conditions; those of the others follow from the kind."""
        return self in (Kind.OVERRIDE, Kind.UNDERRIDE)


Action = str | Mapping[str, Any]
"""`notify`, or an object with `set_tweak`."""

Condition = Mapping[str, Any]
"""An object with `kind`; what else it has depends on that."""


@dataclass(frozen=True, slots=True)
class PushRule:
    """One rule. conditions: of override and underride rules alone. pattern: of content rules alone.

    default: whether it is one of the server's, which cannot be deleted. rule_id: unique among the rules of its kind; that of a
    room rule is a room ID, that of a sender rule a user ID.
    """

    kind: Kind
    rule_id: str
    actions: Sequence[Action]
    conditions: Sequence[Condition] = ()
    pattern: str | None = None
    default: bool = False
    enabled: bool = True

    def body(self) -> dict[str, Any]:
        """The JSON form.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid
        """
        body: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": list(self.actions),
        }
        if self.kind.has_conditions:
            body["conditions"] = list(self.conditions)
        if self.kind is Kind.CONTENT:
            body["pattern"] = self.pattern or ""
        return body


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules that hold for a user; those of each kind with the most important first."""

    rules: Mapping[Kind, Sequence[PushRule]]

    def __iter__(self) -> Iterator[PushRule]:
        """Every rule, the most important first."""
        for kind in Kind:
            yield from self.rules.get(kind, ())

    def find(self, kind: Kind, rule_id: str) -> PushRule | None:
        """The rule with this ID, if there is one."""
        return next((rule for rule in self.rules.get(kind, ()) if rule.rule_id == rule_id), None)

    def body(self) -> dict[str, Any]:
        """The JSON form: every kind is there, also without rules.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobal
        """
        return {kind.value: [rule.body() for rule in self.rules.get(kind, ())] for kind in Kind}
