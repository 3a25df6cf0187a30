"""Push: whom events notify, what of it is unread, and the requests to push gateways.

`evaluation` decides in the unit of work that stores an event, with `preferences` (what users have set) and `audience` (who is in
the room); `counts` and `listing` tell clients; `pushers` keeps whom to push to, `delivery` does it with what `payload` makes.

Spec: https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""
