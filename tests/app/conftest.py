"""Fixtures of other directories that the tests here use too."""

from tests.support.certificates import authority as authority
from tests.support.postgresql import outage as outage
