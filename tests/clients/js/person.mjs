// A person with matrix-js-sdk, from the environment that scripts/test makes in .test-env/js.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

// Node.js 18, which Debian 12 has, keeps it in the module alone.
globalThis.crypto ??= webcrypto;

const require = createRequire(new URL("../../../.test-env/js/", import.meta.url));
export const sdk = await import(pathToFileURL(require.resolve("matrix-js-sdk")));
export const { RoomHierarchy } = await import(pathToFileURL(require.resolve("matrix-js-sdk/lib/room-hierarchy.js")));
// It talks a lot; what matters is asserted.
for (const logger of Object.values(require("loglevel").getLoggers())) logger.disableAll();

// What the SDK still asks in the background for a session that has ended, or for a client that is stopped, and does not wait for.
process.on("unhandledRejection", (error) => {
    if (error.errcode !== "M_UNKNOWN_TOKEN" && error.name !== "AbortError") throw error;
});

export const PASSWORD = "correct horse battery staple";
const STEP_MS = 10_000;
// Longer than a step may take: what arrives in time has woken the long poll.
const POLL_MS = 30_000;

/** What the server has answered with 404 M_UNRECOGNIZED: `GET /_matrix/client/v3/...`, as one set for all clients. */
export const unrecognized = new Set();

async function recordingFetch(resource, options) {
    const response = await fetch(resource, options);
    if (response.status !== 404) return response;
    const body = await response.clone().json();
    if (body.errcode !== "M_UNRECOGNIZED") return response;
    unrecognized.add(`${options.method} ${new URL(resource).pathname}`);
    return response;
}

/** Wait until the condition gives (or promises) something true, and return that; a refusal says what was waited for. */
export async function until(condition, what) {
    const deadline = Date.now() + STEP_MS;
    for (;;) {
        const found = await condition();
        if (found) return found;
        assert(Date.now() < deadline, `waited ${STEP_MS / 1000} s in vain for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

/** The errcode with which a request is refused. */
export async function refusal(promise) {
    try {
        await promise;
    } catch (error) {
        return error.errcode;
    }
    assert.fail("it was not refused");
}

export class Person {
    constructor(baseUrl, client, gate) {
        this.baseUrl = baseUrl;
        this.client = client;
        this.gate = gate;
        this.userId = client.getUserId();
    }

    /** A new account: the flows of registration are asked for, then gone through. */
    static async register(baseUrl, localpart) {
        const client = sdk.createClient({ baseUrl, fetchFn: recordingFetch });
        const request = { username: localpart, password: PASSWORD, inhibit_login: true };
        assert.equal(await client.isUsernameAvailable(localpart), true);
        let session;
        try {
            await client.registerRequest(request);
            assert.fail("registration took no user-interactive authentication");
        } catch (error) {
            assert.equal(error.httpStatus, 401, error.message);
            assert.deepEqual(error.data.flows, [{ stages: ["m.login.dummy"] }]);
            session = error.data.session;
        }
        const answer = await client.registerRequest({ ...request, auth: { type: "m.login.dummy", session } });
        assert.equal(answer.access_token, undefined);
        return Person.logIn(baseUrl, answer.user_id);
    }

    /** A new session by password. refreshing: its access token is renewed as often as it has to be. */
    static async logIn(baseUrl, userId, { rightPassword = PASSWORD, refreshing = false } = {}) {
        const anonymous = sdk.createClient({ baseUrl, fetchFn: recordingFetch });
        const { flows } = await anonymous.loginFlows();
        assert(flows.some((flow) => flow.type === "m.login.password"));
        const request = (password) =>
            anonymous.loginRequest({
                type: "m.login.password",
                identifier: { type: "m.id.user", user: userId },
                initial_device_display_name: "js",
                refresh_token: refreshing,
                password,
            });
        assert.equal(await refusal(request("not the password")), "M_FORBIDDEN");
        const answer = await request(rightPassword);
        const { access_token: accessToken, device_id: deviceId, refresh_token: refreshToken } = answer;
        assert.equal(refreshToken !== undefined, refreshing);
        let refreshes = 0;
        const tokenRefreshFunction = async (token) => {
            refreshes++;
            const renewed = await anonymous.refreshToken(token);
            return { accessToken: renewed.access_token, refreshToken: renewed.refresh_token };
        };
        // Where /sync requests wait while the person is offline.
        const gate = { opened: Promise.resolve() };
        const fetchFn = async (resource, options) => {
            if (new URL(resource).pathname.endsWith("/sync")) await gate.opened;
            return recordingFetch(resource, options);
        };
        const credentials = { userId, accessToken, deviceId, refreshToken, tokenRefreshFunction };
        const client = sdk.createClient({ baseUrl, ...credentials, fetchFn, timelineSupport: true });
        const who = await client.whoami();
        assert.deepEqual([who.user_id, who.device_id], [userId, deviceId]);
        const person = new Person(baseUrl, client, gate);
        person.refreshes = () => refreshes;
        return person;
    }

    /** Start the sync loop, with members loaded lazily and threads apart, and wait for the first sync. */
    async start(initialSyncLimit = 20) {
        const states = [];
        this.client.on(sdk.ClientEvent.Sync, (state, _, data) => states.push([state, data?.error?.message]));
        const options = { lazyLoadMembers: true, threadSupport: true, pollTimeout: POLL_MS };
        await this.client.startClient({ ...options, initialSyncLimit });
        await until(() => this.client.isInitialSyncComplete(), `the first sync of ${this.userId}`);
        assert.deepEqual(states[0], ["PREPARED", undefined]);
    }

    /** Send no /sync after the one that is on its way, until the function that is returned is called. */
    goOffline() {
        let comeBack;
        this.gate.opened = new Promise((resolve) => (comeBack = resolve));
        return comeBack;
    }

    /** The room, once the person has the membership in it. */
    room(roomId, membership = "join") {
        return until(() => {
            const room = this.client.getRoom(roomId);
            return room?.getMyMembership() === membership && room;
        }, `${this.userId} to ${membership} ${roomId}`);
    }

    /** The event in the room's live timeline, once it is there. */
    async sees(roomId, eventId) {
        const room = await this.room(roomId);
        return until(
            () => room.getLiveTimeline().getEvents().find((event) => event.getId() === eventId),
            `${this.userId} to see ${eventId}`,
        );
    }

    /** Send a text; its event ID. */
    async say(roomId, text) {
        return (await this.client.sendTextMessage(roomId, text)).event_id;
    }
}

/** A room that one makes and others join. */
export async function newRoom(host, guests, options = {}) {
    const invite = guests.map((guest) => guest.userId);
    const { room_id: roomId } = await host.client.createRoom({ preset: "private_chat", invite, ...options });
    await host.room(roomId);
    for (const guest of guests) {
        await guest.client.joinRoom(roomId);
        await guest.room(roomId);
    }
    return roomId;
}

/** Do what takes the password once more: the first try is answered with how to authenticate, the second is let through. */
export async function authenticated(userId, attempt, password = PASSWORD) {
    let session;
    try {
        await attempt(undefined);
        assert.fail("it took no user-interactive authentication");
    } catch (error) {
        assert.equal(error.httpStatus, 401, error.message);
        assert(error.data.flows.some((flow) => flow.stages.join() === "m.login.password"));
        session = error.data.session;
    }
    const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: userId }, session };
    await assert.rejects(attempt({ ...auth, password: "not the password" }), { httpStatus: 401 });
    return attempt({ ...auth, password });
}

/** The bodies of the messages in a timeline. */
export function texts(timeline) {
    return timeline
        .getEvents()
        .filter((event) => event.getType() === "m.room.message")
        .map((event) => event.getContent().body);
}
