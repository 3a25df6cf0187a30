"""Erased accounts: from when on."""

from __future__ import annotations

DESCRIPTION = "when accounts were erased"

STATEMENTS = (
    # erased_position: where the stream stood when the user asked to be erased. Who joins a room later sees what the user sent in it
    # redacted.
    "DROP INDEX users_erased",
    "ALTER TABLE users DROP COLUMN is_erased",
    "ALTER TABLE users ADD COLUMN erased_position BIGINT",
    "CREATE INDEX users_erased ON users (user_id) WHERE erased_position IS NOT NULL",
)
