"""How federation has gone with each server, for operators."""

DESCRIPTION = "last success and failure of each destination, last errors of each inbound server"

STATEMENTS = (
    # Beside `destinations`, where only those stand that do not answer now. Times are milliseconds; NULL: never.
    """
    CREATE TABLE destination_history (
        destination TEXT PRIMARY KEY,
        last_success BIGINT,
        last_failure BIGINT,
        failure_reason TEXT
    )
    """,
    # The newest few errors of each server that asks us something. what: the request; number: 0 for the newest.
    """
    CREATE TABLE inbound_errors (
        origin TEXT NOT NULL,
        number BIGINT NOT NULL,
        at_ms BIGINT NOT NULL,
        what TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (origin, number)
    )
    """,
    "CREATE INDEX inbound_errors_by_age ON inbound_errors (number, at_ms)",
)
