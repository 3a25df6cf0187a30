"""What administrators' tools use: Synapse's admin API, as far as it is served."""

from __future__ import annotations

from homeserver.admin_api import register
from homeserver.http import endpoints_of

MODULES = (register,)

ENDPOINTS = [endpoint for module in MODULES for endpoint in endpoints_of(module)]
