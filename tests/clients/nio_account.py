"""What matrix-nio does with an account: push rules with what they count, devices, OpenID."""

import nio
from nio.events.account_data import PushNotify, PushSetTweak

from .nio_person import NO_RETRIES, PASSWORD, Person, expect


async def set_push_rules(alice: Person, bob: Person, room_id: str) -> None:
    """A word of bob's own counts for him as long as its rule is there and enabled."""
    room = bob.client.rooms[room_id]

    def counts() -> tuple[int, int]:
        return room.unread_notifications, room.unread_highlights

    def words() -> list[tuple[str, bool]]:
        rules = bob.push_rules.content if bob.push_rules else []
        return [(rule.pattern, rule.enabled) for rule in rules if not rule.default]

    async def read_all() -> None:
        last = await alice.say(room_id, "the last one")
        await bob.until_event(last, "the last message")
        marked = await bob.client.room_read_markers(room_id, last, last)
        expect(marked, nio.RoomReadMarkersResponse)
        await bob.until(lambda: counts() == (0, 0), "everything to be read")

    async def hears(text: str, wanted: tuple[int, int], **more: object) -> None:
        await read_all()
        await alice.send(room_id, "m.room.message", {"msgtype": "m.text", "body": text, **more})
        await bob.until(lambda: counts() == wanted, f"{wanted} unread for {text!r}")

    content = ("global", nio.PushRuleKind.content, "cake")
    await hears("would you like ca-ke?", (1, 0))
    actions = [PushNotify(), PushSetTweak("highlight", True)]
    created = await bob.client.set_pushrule(*content, actions=actions, pattern="c?ke")
    expect(created, nio.SetPushRuleResponse)
    await bob.until(lambda: words() == [("c?ke", True)], "the new rule")
    await hears("a Cake, or coke", (1, 1))
    expect(await bob.client.enable_pushrule(*content, enable=False), nio.EnablePushRuleResponse)
    await bob.until(lambda: words() == [("c?ke", False)], "the rule to be disabled")
    await hears("no cake for you", (1, 0))
    expect(await bob.client.delete_pushrule(*content), nio.DeletePushRuleResponse)
    await bob.until(lambda: words() == [], "the rule to go")
    assert (
        expect(await bob.client.delete_pushrule(*content), nio.DeletePushRuleError).status_code
        == "M_NOT_FOUND"
    )
    await hears("hello bob!", (1, 1), **{"m.mentions": {"user_ids": [bob.user_id]}})

    muted = ("global", nio.PushRuleKind.room, room_id)
    expect(await bob.client.set_pushrule(*muted, actions=[]), nio.SetPushRuleResponse)
    await bob.until(lambda: bob.push_rules and bob.push_rules.room, "the rule of the room")
    await read_all()
    quiet = await alice.say(room_id, "nobody is told")
    await bob.until_event(quiet, "the message in a muted room")
    assert counts() == (0, 0)
    expect(await bob.client.delete_pushrule(*muted), nio.DeletePushRuleResponse)


async def look_after_devices(base_url: str, alice: Person) -> None:
    """The list, a new name, and the end of a device, for which the password is asked again."""
    second = nio.AsyncClient(base_url, alice.user_id, config=NO_RETRIES)
    try:
        device_id = expect(await second.login(PASSWORD, "tablet"), nio.LoginResponse).device_id

        async def names() -> dict[str, str]:
            listed = expect(await alice.client.devices(), nio.DevicesResponse)
            return {device.id: device.display_name for device in listed.devices}

        assert await names() == {alice.client.device_id: "laptop", device_id: "tablet"}
        renamed = await alice.client.update_device(device_id, {"display_name": "old tablet"})
        expect(renamed, nio.UpdateDeviceResponse)
        assert (await names())[device_id] == "old tablet"

        asked = expect(await alice.client.delete_devices([device_id]), nio.DeleteDevicesAuthResponse)
        assert {"stages": ["m.login.password"]} in asked.flows
        auth = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": alice.user_id},
            "session": asked.session,
        }
        wrong = await alice.client.delete_devices([device_id], {**auth, "password": "not the password"})
        assert expect(wrong, nio.DeleteDevicesAuthResponse).session == asked.session
        assert device_id in await names()
        gone = await alice.client.delete_devices([device_id], {**auth, "password": PASSWORD})
        expect(gone, nio.DeleteDevicesResponse)
        assert list(await names()) == [alice.client.device_id]
        ended = expect(await second.whoami(), nio.WhoamiError)
        assert (ended.status_code, ended.soft_logout) == ("M_UNKNOWN_TOKEN", False)
    finally:
        await second.close()
    token = expect(await alice.client.get_openid_token(alice.user_id), nio.GetOpenIDTokenResponse)
    assert alice.user_id.endswith(f":{token.matrix_server_name}") and token.expires_in > 0
