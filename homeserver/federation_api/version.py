"""The implementation and its version.

Spec: https://spec.matrix.org/v1.19/server-server-api/#server-implementation
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from homeserver.http import NO_AUTH, endpoint


@endpoint("GET", "/_matrix/federation/v1/version", auth=NO_AUTH)
async def get_version() -> dict[str, Any]:
    """The implementation name and version of this homeserver.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
    """
    return {"server": {"name": "homeserver", "version": _installed_version()}}


def _installed_version() -> str:
    try:
        return version("homeserver")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "unknown"
