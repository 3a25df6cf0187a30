"""The versions of the specification that are served.

Spec: https://spec.matrix.org/v1.19/client-server-api/#api-versions
"""

from __future__ import annotations

from typing import Any

from homeserver.http import OPTIONAL_ACCESS_TOKEN, endpoint

# v1.11 moved media behind authentication: to name it, or a later one, would send clients to endpoints that
# are not served yet. What is served of later versions is announced as a feature below.
VERSIONS = (
    "r0.6.1",
    "v1.1",
    "v1.2",
    "v1.3",
    "v1.4",
    "v1.5",
    "v1.6",
    "v1.7",
    "v1.8",
    "v1.9",
    "v1.10",
)

UNSTABLE_FEATURES = {
    # Reports of rooms, in v1.13: https://github.com/matrix-org/matrix-spec-proposals/pull/4151
    "org.matrix.msc4151": True,
    # Profile fields with any name, in v1.16: https://github.com/matrix-org/matrix-spec-proposals/pull/4133
    "uk.tcpip.msc4133": True,
    "uk.tcpip.msc4133.stable": True,
}


@endpoint("GET", "/_matrix/client/versions", auth=OPTIONAL_ACCESS_TOKEN)
async def get_versions() -> dict[str, Any]:
    """The versions of the specification, and experimental features.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
    """
    return {"versions": VERSIONS, "unstable_features": UNSTABLE_FEATURES}
