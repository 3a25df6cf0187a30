"""The lists of what guests, locked and suspended users may use name operations of the specification."""

import json
from pathlib import Path

import pytest

from homeserver.core.account_limits import GUESTS_MAY, LOCKED_MAY, SUSPENDED_MAY_NOT

FUNCTIONS = {
    entry["function"]
    for entry in json.loads((Path(__file__).parent / "spec_operations.json").read_text(encoding="utf-8"))
    if entry["file"].startswith("client-server/")
}


@pytest.mark.parametrize("operations", [GUESTS_MAY, LOCKED_MAY, SUSPENDED_MAY_NOT])
def test_the_lists_name_operations(operations: frozenset[str]) -> None:
    assert operations and operations <= FUNCTIONS
