"""The authorisation rules of every room version: which events a room state allows.

A refusal is a value, not an exception: it names the rule by its number in the room version's text and says
why.

Spec: https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
"""

from homeserver.core.auth_rules.auth_events import auth_keys, check_auth_events, event_auth_keys
from homeserver.core.auth_rules.refusal import Refusal
from homeserver.core.auth_rules.rules import authorise

__all__ = ["Refusal", "auth_keys", "authorise", "check_auth_events", "event_auth_keys"]
