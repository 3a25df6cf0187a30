"""The small internet of the federation tests, and certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doctor.chains import Maker
from tests.federation.conftest import world

__all__ = ["world"]


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Makes certificates."""
    return Maker(tmp_path)
