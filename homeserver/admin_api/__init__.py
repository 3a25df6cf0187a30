"""What administrators' tools use: Synapse's admin API, as far as it is served. Every module here is served."""

from homeserver.http import endpoints_in

ENDPOINTS = endpoints_in(__name__)
