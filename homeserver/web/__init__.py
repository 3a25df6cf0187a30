"""Pages for people, and what the doctor asks: beside the specification's endpoints. Every module here is served."""

from homeserver.http import endpoints_in

ENDPOINTS = endpoints_in(__name__)
