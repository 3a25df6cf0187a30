"""What a server that was put out of a room is sent besides the graph's ends: an event that joins them."""

DESCRIPTION = "expelled servers are told"

STATEMENTS = (
    # told_position: that of the event which joins the ends; NULL while the server has not been sent one.
    "ALTER TABLE expelled_servers ADD COLUMN told_position BIGINT",
)
