// A person with matrix-js-sdk, from the environment that scripts/test makes in .test-env/js.

import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// Node.js 18, which Debian 12 has, keeps it in the module alone.
globalThis.crypto ??= webcrypto;

const require = createRequire(new URL("../../../.test-env/js/", import.meta.url));
export const sdk = await import(pathToFileURL(require.resolve("matrix-js-sdk")));
// It talks a lot; what matters is asserted.
for (const logger of Object.values(require("loglevel").getLoggers())) logger.disableAll();

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

/** Wait until the condition gives something true, and return that; a refusal says what was waited for. */
export async function until(condition, what) {
    const deadline = Date.now() + STEP_MS;
    for (;;) {
        const found = condition();
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

    /** A new session by password. */
    static async logIn(baseUrl, userId) {
        const anonymous = sdk.createClient({ baseUrl, fetchFn: recordingFetch });
        const { flows } = await anonymous.loginFlows();
        assert(flows.some((flow) => flow.type === "m.login.password"));
        const request = (password) =>
            anonymous.loginRequest({
                type: "m.login.password",
                identifier: { type: "m.id.user", user: userId },
                initial_device_display_name: "js",
                password,
            });
        assert.equal(await refusal(request("not the password")), "M_FORBIDDEN");
        const { access_token: accessToken, device_id: deviceId } = await request(PASSWORD);
        // Where /sync requests wait while the person is offline.
        const gate = { opened: Promise.resolve() };
        const fetchFn = async (resource, options) => {
            if (new URL(resource).pathname.endsWith("/sync")) await gate.opened;
            return recordingFetch(resource, options);
        };
        const client = sdk.createClient({ baseUrl, userId, accessToken, deviceId, fetchFn, timelineSupport: true });
        const who = await client.whoami();
        assert.deepEqual([who.user_id, who.device_id], [userId, deviceId]);
        return new Person(baseUrl, client, gate);
    }

    /** Start the sync loop, with members loaded lazily, and wait for the first sync. */
    async start(initialSyncLimit = 20) {
        const states = [];
        this.client.on(sdk.ClientEvent.Sync, (state, _, data) => states.push([state, data?.error?.message]));
        await this.client.startClient({ lazyLoadMembers: true, initialSyncLimit, pollTimeout: POLL_MS });
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

/** The bodies of the messages in a timeline. */
export function texts(timeline) {
    return timeline
        .getEvents()
        .filter((event) => event.getType() === "m.room.message")
        .map((event) => event.getContent().body);
}
