"""What devices have sent with transaction IDs is not kept for ever."""

DESCRIPTION = "transaction IDs by age, and devices whose transaction IDs are to go"

STATEMENTS = (
    "CREATE INDEX sent_events_by_age ON sent_events (sent_ms)",
    # Devices that are gone, until what they have sent with transaction IDs is removed.
    """
    CREATE TABLE gone_senders (
        user_id TEXT NOT NULL,
        device_id TEXT NOT NULL,
        PRIMARY KEY (user_id, device_id)
    )
    """,
)
