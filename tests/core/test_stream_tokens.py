"""Tokens: what is written is read back, and nothing else is read."""

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.stream_tokens import (
    Place,
    SyncToken,
    parse_stream_token,
    parse_sync_token,
    parse_token,
    place_token,
    stream_token,
)


@pytest.mark.parametrize("place", [Place(0, 0), Place(7, -3), Place(7, -3, 12), Place(2**63 - 1, 0, 0)])
def test_a_place_is_read_back_with_where_its_reader_began(place: Place) -> None:
    read = parse_token(place_token(place))
    assert isinstance(read, Place)
    assert (read.depth, read.position, read.until) == (place.depth, place.position, place.until)


def test_a_position_is_read_back() -> None:
    assert parse_token(stream_token(5)) == parse_stream_token(stream_token(5)) == 5


@pytest.mark.parametrize("token", [SyncToken(5), SyncToken(0, 0), SyncToken(5, 1_700_000_000_000)])
def test_a_token_of_sync_is_read_back(token: SyncToken) -> None:
    assert parse_sync_token(str(token)) == token
    assert parse_token(str(token)) == parse_stream_token(str(token)) == token.position


def test_places_are_ordered_by_depth_and_position_alone() -> None:
    assert Place(1, 2, 3) == Place(1, 2) < Place(1, 3, 1) < Place(2, -5)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "5",
        "s",
        "s-1",
        "t1",
        "t1_",
        "t1_2_",
        "t1_2_-3",
        "t-1_2",
        f"t{2**63}_0",
        "t1_2_3_4",
        "s1_",
        "s1_-2",
        "s1_2_3",
    ],
)
def test_other_tokens_are_refused(token: str) -> None:
    with pytest.raises(MatrixError) as refused:
        parse_token(token)
    assert refused.value.errcode == "M_INVALID_PARAM"
