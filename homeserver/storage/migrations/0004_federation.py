"""What federation must remember: what is still to be sent, who does not answer, whose keys we know."""

DESCRIPTION = "outbox, destinations, server keys, received transactions"

STATEMENTS = (
    # What each server is still to get, in the order of event_nid. Rows are added in the unit of work that stores the event
    # and deleted when the server has answered.
    """
    CREATE TABLE outbox (
        destination TEXT NOT NULL,
        event_nid BIGINT NOT NULL,
        PRIMARY KEY (destination, event_nid)
    )
    """,
    # The transaction that a server has not answered: it is sent again under the same ID with the same body.
    # event_nids: a JSON list, the outbox rows that are done when it is answered.
    """
    CREATE TABLE unanswered_transactions (
        destination TEXT PRIMARY KEY,
        transaction_id TEXT NOT NULL,
        event_nids TEXT NOT NULL,
        body BYTEA NOT NULL
    )
    """,
    # Only servers that do not answer stand here; all times are milliseconds.
    """
    CREATE TABLE destinations (
        destination TEXT PRIMARY KEY,
        failing_since BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        retry_at BIGINT NOT NULL,
        reason TEXT NOT NULL
    )
    """,
    # The answers to transactions that came in, kept for a while so that a repeated one gets the same answer.
    """
    CREATE TABLE inbound_transactions (
        origin TEXT NOT NULL,
        transaction_id TEXT NOT NULL,
        received_ms BIGINT NOT NULL,
        response BYTEA NOT NULL,
        PRIMARY KEY (origin, transaction_id)
    )
    """,
    "CREATE INDEX inbound_transactions_by_age ON inbound_transactions (received_ms)",
    # Verification keys of other servers. valid_until: milliseconds, already capped as the specification demands; for
    # an old key (is_old) the time when it expired.
    """
    CREATE TABLE server_keys (
        server_name TEXT NOT NULL,
        key_id TEXT NOT NULL,
        verify_key BYTEA NOT NULL,
        valid_until BIGINT NOT NULL,
        is_old BOOLEAN NOT NULL,
        PRIMARY KEY (server_name, key_id)
    )
    """,
    # The newest key response of each server as it signed it: what a notary answers with.
    """
    CREATE TABLE server_key_responses (
        server_name TEXT PRIMARY KEY,
        fetched_ms BIGINT NOT NULL,
        valid_until BIGINT NOT NULL,
        response BYTEA NOT NULL
    )
    """,
)
