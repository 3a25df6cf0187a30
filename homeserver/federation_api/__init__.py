"""The server-server API: one module per file of the specification, one handler per operation.

Every module here is served: `@endpoint` is all that a handler needs.
Spec: https://spec.matrix.org/v1.19/server-server-api/
"""

from homeserver.http import endpoints_in

ENDPOINTS = endpoints_in(__name__)
