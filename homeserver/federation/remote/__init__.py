"""One function a remote endpoint. Each takes the `FederationClient` and the destination first and returns a
validated result; whatever fails raises `FederationError`: stage "answer" if the answer is not what the
endpoint promises.

- `membership`: make_join, make_leave, make_knock, send_join, send_leave, send_knock
- `invites`: invite, exchange_third_party_invite
- `events`: backfill, get_missing_events, state, state_ids, event, event_auth, timestamp_to_event
- `transactions`: send
- `queries`: query/directory, query/profile, version, openid/userinfo
- `rooms`: publicRooms, hierarchy
- `users`: user/devices, user/keys/query, user/keys/claim
- `policy`: policy/v1/sign
"""
