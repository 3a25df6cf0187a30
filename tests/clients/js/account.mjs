// What people do with their accounts: profile fields, the user directory, ignoring, pushers, devices, passwords, refreshing.

import assert from "node:assert/strict";

import { authenticated, newRoom, PASSWORD, Person, refusal, sdk, texts, until } from "./person.mjs";

/** Fields of a profile that no specification names. */
export async function fillProfile(alice, bob) {
    assert.equal(await bob.client.doesServerSupportExtendedProfiles(), true);
    await bob.client.setExtendedProfileProperty("org.example.tools", { hammer: 1 });
    await bob.client.setExtendedProfileProperty("m.tz", "Europe/London");
    assert.deepEqual(await alice.client.getExtendedProfile(bob.userId), {
        "displayname": "Bob the Builder",
        "avatar_url": "mxc://example.org/bob",
        "org.example.tools": { hammer: 1 },
        "m.tz": "Europe/London",
    });
    assert.deepEqual(await alice.client.getExtendedProfileProperty(bob.userId, "org.example.tools"), { hammer: 1 });
    await bob.client.deleteExtendedProfileProperty("org.example.tools");
    assert.equal(await refusal(alice.client.getExtendedProfileProperty(bob.userId, "org.example.tools")), "M_NOT_FOUND");
}

/** The user directory finds by name and by ID whom one shares a room with, and nobody else. */
export async function findPeople(alice, bob) {
    const found = async (term) => {
        const { results, limited } = await alice.client.searchUserDirectory({ term, limit: 5 });
        assert.equal(limited, false);
        return results;
    };
    const [seen] = await until(async () => (await found("build")).length && (await found("build")), "Bob to be found");
    assert.deepEqual(seen, { user_id: bob.userId, display_name: "Bob the Builder", avatar_url: "mxc://example.org/bob" });
    assert.deepEqual((await found(bob.userId)).map((user) => user.user_id), [bob.userId]);
    assert.deepEqual(await found("js-carol"), []);
}

/** Who is ignored is not heard, also in a new session, until he is not ignored any more. */
export async function ignore(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const heard = (person) => person.room(roomId).then((room) => texts(room.getLiveTimeline()));
    await alice.sees(roomId, await bob.say(roomId, "before"));
    await alice.client.setIgnoredUsers([bob.userId]);
    await until(() => alice.client.isUserIgnored(bob.userId), "Bob to be ignored");
    await bob.say(roomId, "unheard");
    await alice.sees(roomId, await alice.say(roomId, "silence"));
    assert.deepEqual(await heard(alice), ["before", "silence"]);
    const second = await Person.logIn(alice.baseUrl, alice.userId);
    await second.start();
    assert.deepEqual(await heard(second), ["silence"]);
    await second.client.logout(true);
    await alice.client.setIgnoredUsers([]);
    await until(() => !alice.client.isUserIgnored(bob.userId), "Bob not to be ignored");
    await alice.sees(roomId, await bob.say(roomId, "after"));
    assert.deepEqual(await heard(alice), ["before", "silence", "after"]);
}

/** Pushers are kept until they are taken back. */
export async function keepPushers(alice) {
    const pusher = {
        app_display_name: "js",
        app_id: "org.example.js",
        data: { url: "https://push.example.org/_matrix/push/v1/notify", format: "event_id_only" },
        device_display_name: "js",
        kind: "http",
        lang: "en",
        pushkey: "a key",
    };
    await alice.client.setPusher(pusher);
    const { pushers } = await alice.client.getPushers();
    assert.equal(pushers.length, 1);
    for (const [key, value] of Object.entries(pusher)) assert.deepEqual(pushers[0][key], value, key);
    await alice.client.removePusher("a key", "org.example.js");
    assert.deepEqual((await alice.client.getPushers()).pushers, []);
}

/** Sessions are listed, named and ended from another; the ended one notices. */
export async function endDevices(alice) {
    const [tablet, phone, laptop] = await Promise.all(
        [1, 2, 3].map(() => Person.logIn(alice.baseUrl, alice.userId)),
    );
    const idOf = (person) => person.client.getDeviceId();
    await alice.client.setDeviceDetails(idOf(tablet), { display_name: "Old tablet" });
    const devices = async () => (await alice.client.getDevices()).devices;
    const named = (await devices()).find((device) => device.device_id === idOf(tablet));
    assert.equal(named.display_name, "Old tablet");
    assert(named.last_seen_ip && Math.abs(named.last_seen_ts - Date.now()) < 60_000, JSON.stringify(named));

    await tablet.start(1);
    let loggedOut = false;
    tablet.client.on(sdk.HttpApiEvent.SessionLoggedOut, () => (loggedOut = true));
    await authenticated(alice.userId, (auth) => alice.client.deleteDevice(idOf(tablet), auth));
    await until(() => loggedOut, "the tablet to notice its end");
    tablet.client.stopClient();
    const rest = [phone, laptop].map(idOf);
    await authenticated(alice.userId, (auth) => alice.client.deleteMultipleDevices(rest, auth));
    assert.deepEqual((await devices()).map((device) => device.device_id), [idOf(alice)]);
    assert.equal(await refusal(laptop.client.whoami()), "M_UNKNOWN_TOKEN");
}

/** A session whose access token is good for some seconds (as conftest.py has it) goes on with another one. */
export async function goOnRenewed(alice, person, firstToken) {
    await until(() => person.client.whoami().then(() => person.refreshes() > 0), "a new token");
    assert.notEqual(person.client.getAccessToken(), firstToken);
    const roomId = await newRoom(alice, [person]);
    await person.sees(roomId, await alice.say(roomId, "still there?"));
    await alice.sees(roomId, await person.say(roomId, "yes"));
    assert.equal((await person.client.whoami()).device_id, person.client.getDeviceId());
    await person.client.logout(true);
}

/** Another password; the other sessions end if they are to. */
export async function changePassword(carol) {
    const other = await Person.logIn(carol.baseUrl, carol.userId);
    const change = (from, to, logoutDevices) =>
        authenticated(carol.userId, (auth) => carol.client.setPassword(auth ?? {}, to, logoutDevices), from);
    await change(PASSWORD, "a second password", false);
    assert.equal((await other.client.whoami()).user_id, carol.userId);
    await change("a second password", "a third password", true);
    assert.equal(await refusal(other.client.whoami()), "M_UNKNOWN_TOKEN");
    assert.equal(await refusal(Person.logIn(carol.baseUrl, carol.userId)), "M_FORBIDDEN");
    const again = await Person.logIn(carol.baseUrl, carol.userId, { rightPassword: "a third password" });
    await again.client.logout();
    assert.equal((await carol.client.whoami()).user_id, carol.userId);
}
