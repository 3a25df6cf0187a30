// Two people with matrix-js-sdk, and a third who is only talked of: node journey.mjs BASE_URL SERVER_NAME
//
// Ends with 0 when everything was as it should be, and prints as JSON what the server did not recognise.

import assert from "node:assert/strict";
import process from "node:process";

import { changePassword, endDevices, fillProfile, findPeople, goOnRenewed, ignore, keepPushers } from "./account.mjs";
import { bePresent, beNotified, edit, openThreads, react, readAlong, typeSomething } from "./conversation.mjs";
import { Person, refusal, sdk, texts, unrecognized, until } from "./person.mjs";
import { knock, makeSpace, peek, search, upgrade } from "./rooms.mjs";

/** A room with everything a client gives it; Bob is invited and comes by its alias. */
async function createAndInvite(alice, bob, serverName) {
    const { room_id: roomId } = await alice.client.createRoom({
        visibility: "public",
        room_alias_name: "js",
        name: "The js room",
        topic: "All that matrix-js-sdk does",
        preset: "public_chat",
        invite: [bob.userId],
        initial_state: [
            { type: "m.room.history_visibility", state_key: "", content: { history_visibility: "shared" } },
        ],
    });
    const alias = `#js:${serverName}`;

    const invited = await bob.room(roomId, "invite");
    await until(() => invited.name === "The js room", "the name of the room of the invite");
    assert.equal(invited.getMember(bob.userId).events.member.getSender(), alice.userId);
    assert.equal(invited.getJoinRule(), "public");
    assert.equal((await bob.client.getRoomIdForAlias(alias)).room_id, roomId);
    await bob.client.joinRoom(alias);

    const room = await bob.room(roomId);
    assert.equal(room.name, "The js room");
    assert.equal(room.getCanonicalAlias(), alias);
    assert.equal(room.currentState.getStateEvents("m.room.topic", "").getContent().topic, "All that matrix-js-sdk does");
    const own = await alice.room(roomId);
    await until(() => own.getMember(bob.userId)?.membership === "join", "Bob's join to reach Alice");
    assert.equal(own.getJoinedMemberCount(), 2);
    assert.deepEqual((await alice.client.getJoinedRooms()).joined_rooms, [roomId]);
    return roomId;
}

/** Messages both ways; the sender's own copy is replaced by the server's, by its transaction ID. */
async function talk(alice, bob, roomId) {
    const sent = [await alice.say(roomId, "hello bob")];
    await bob.sees(roomId, sent[0]);
    sent.push(await bob.say(roomId, "hello alice"));
    for (const person of [alice, bob]) {
        for (const eventId of sent) await person.sees(roomId, eventId);
        const room = await person.room(roomId);
        assert.deepEqual(texts(room.getLiveTimeline()), ["hello bob", "hello alice"]);
        await until(() => room.getLiveTimeline().getEvents().every((event) => !event.status), "no local echo left");
    }
    const seen = await bob.sees(roomId, sent[0]);
    assert.equal(seen.getSender(), alice.userId);
    assert.equal(seen.sender.name, "js-alice"); // who has set no other name

    const slip = await alice.say(roomId, "a slip");
    const slipSeen = await bob.sees(roomId, slip);
    await alice.client.redactEvent(roomId, slip, undefined, { reason: "it was one" });
    await until(() => slipSeen.isRedacted(), "the redaction");
    assert.deepEqual(slipSeen.getContent(), {});
    const fetched = await bob.client.fetchRoomEvent(roomId, slip);
    assert.deepEqual(fetched.content, {});
    assert.equal(fetched.unsigned.redacted_because.content.reason, "it was one");
}

/** State events reach the other; what is not allowed is refused, as the SDK itself foresees. */
async function changeState(alice, bob, roomId) {
    const room = await bob.room(roomId);
    await alice.client.setRoomTopic(roomId, "Another topic");
    const topic = () => room.currentState.getStateEvents("m.room.topic", "").getContent().topic;
    await until(() => topic() === "Another topic", "the new topic");
    await alice.client.sendStateEvent(roomId, "org.example.state", { a: 1 }, "a key/with ? and ü");
    await until(() => room.currentState.getStateEvents("org.example.state", "a key/with ? and ü"), "our own state");
    assert.deepEqual(await bob.client.getStateEvent(roomId, "org.example.state", "a key/with ? and ü"), { a: 1 });
    assert.equal(await refusal(bob.client.getStateEvent(roomId, "org.example.state", "")), "M_NOT_FOUND");

    assert.equal(room.currentState.maySendStateEvent("m.room.name", bob.userId), false);
    assert.equal(await refusal(bob.client.setRoomName(roomId, "Mine")), "M_FORBIDDEN");
    await alice.client.setPowerLevel(roomId, bob.userId, 50);
    await until(() => room.getMember(bob.userId).powerLevel === 50, "Bob's power");
    assert.equal(room.currentState.maySendStateEvent("m.room.name", bob.userId), true);
    await bob.client.setRoomName(roomId, "Bob's room");
    await until(() => room.name === "Bob's room", "the new name");
}

/** A display name and an avatar reach the profile and the member in the room. */
async function changeProfile(alice, bob, roomId) {
    await bob.client.setDisplayName("Bob the Builder");
    await bob.client.setAvatarUrl("mxc://example.org/bob");
    assert.deepEqual(await alice.client.getProfileInfo(bob.userId), {
        displayname: "Bob the Builder",
        avatar_url: "mxc://example.org/bob",
    });
    assert.deepEqual(await alice.client.getProfileInfo(bob.userId, "displayname"), { displayname: "Bob the Builder" });
    const member = (await alice.room(roomId)).getMember(bob.userId);
    await until(() => member.getMxcAvatarUrl() === "mxc://example.org/bob", "Bob's avatar");
    assert.equal(member.name, "Bob the Builder");
    const { joined } = await alice.client.getJoinedRoomMembers(roomId);
    assert.deepEqual(joined[bob.userId], { avatar_url: "mxc://example.org/bob", display_name: "Bob the Builder" });
}

/** What one keeps for oneself comes back in the sync, also to another session; others do not see it. */
async function keepForOneself(alice, bob, roomId) {
    const room = await alice.room(roomId);
    const kept = (person, type) => person.client.getAccountData(type)?.getContent();
    await alice.client.setAccountData("org.example.note", { text: "remember" });
    await until(() => kept(alice, "org.example.note")?.text === "remember", "the account data");
    await alice.client.setRoomAccountData(roomId, "org.example.note", { text: "here" });
    await until(() => room.getAccountData("org.example.note")?.getContent().text === "here", "the data of the room");
    await alice.client.setRoomTag(roomId, "m.favourite", { order: 0.25 });
    await alice.client.setRoomTag(roomId, "u.work", {});
    await until(() => room.tags["m.favourite"]?.order === 0.25 && room.tags["u.work"], "the tags");
    await alice.client.deleteRoomTag(roomId, "u.work");
    await until(() => !room.tags["u.work"], "the tag to go");
    assert.deepEqual(Object.keys((await alice.client.getRoomTags(roomId)).tags), ["m.favourite"]);
    assert.deepEqual(await alice.client.getAccountDataFromServer("org.example.note"), { text: "remember" });
    // The SDK makes it of M_NOT_FOUND.
    assert.equal(await alice.client.getAccountDataFromServer("org.example.none"), null);

    const own = () => alice.client.pushRules.global.content.map((rule) => [rule.rule_id, rule.enabled]);
    const actions = ["notify", { set_tweak: "highlight" }];
    await alice.client.addPushRule("global", "content", "cake", { pattern: "ca*e", actions });
    await alice.client.addPushRule("global", "content", "tea", { pattern: "tea", actions: ["notify"] });
    await until(() => own().length === 2, "the push rules");
    assert.deepEqual(own(), [["tea", true], ["cake", true]]);
    const asked = await alice.sees(roomId, await bob.say(roomId, "would you like cake?"));
    assert.deepEqual(alice.client.getPushActionsForEvent(asked), { notify: true, tweaks: { highlight: true } });
    await alice.client.setPushRuleEnabled("global", "content", "cake", false);
    await alice.client.deletePushRule("global", "content", "tea");
    await until(() => own().length === 1 && !own()[0][1], "the rule to be disabled, the other to go");
    await alice.client.setPushRuleActions("global", "underride", ".m.rule.message", []);
    const message = () => alice.client.pushRules.global.underride.find((rule) => rule.rule_id === ".m.rule.message");
    await until(() => message().actions.length === 0, "the default rule without actions");

    const second = await Person.logIn(alice.baseUrl, alice.userId);
    await second.start(1);
    assert.deepEqual(kept(second, "org.example.note"), { text: "remember" });
    assert.equal((await second.room(roomId)).tags["m.favourite"].order, 0.25);
    assert.deepEqual(second.client.pushRules.global.content.map((rule) => rule.rule_id), ["cake"]);
    await second.client.logout(true);
    assert.equal(kept(bob, "org.example.note"), undefined);
    assert.deepEqual(bob.client.pushRules.global.content, []);
}

/** The directory lists the room, finds it, and gives it another alias. */
async function lookInTheDirectory(alice, bob, roomId, serverName) {
    const found = async (term) =>
        (await bob.client.publicRooms({ limit: 10, filter: { generic_search_term: term } })).chunk;
    const [listed] = await found("BOB'S");
    assert.deepEqual([listed.room_id, listed.num_joined_members, listed.name], [roomId, 2, "Bob's room"]);
    assert.deepEqual(await found("no such room"), []);
    assert.equal((await bob.client.getRoomDirectoryVisibility(roomId)).visibility, "public");
    await alice.client.createAlias(`#js2:${serverName}`, roomId);
    const { aliases } = await alice.client.getLocalAliases(roomId);
    assert.deepEqual(aliases.sort(), [`#js2:${serverName}`, `#js:${serverName}`]);
    await alice.client.deleteAlias(`#js2:${serverName}`);
    assert.equal(await refusal(bob.client.getRoomIdForAlias(`#js2:${serverName}`)), "M_NOT_FOUND");
}

/** A room without a name is called after its heroes, by who joined, who is invited, and who has left. */
async function nameByHeroes(alice, bob, carolId) {
    const { room_id: roomId } = await alice.client.createRoom({
        preset: "private_chat",
        is_direct: true,
        invite: [bob.userId, carolId],
    });
    const room = await alice.room(roomId);
    await until(() => room.name === "Bob the Builder and js-carol", `the name by heroes, not ${room.name}`);
    assert.equal(room.getInvitedMemberCount(), 2);
    const invited = await bob.room(roomId, "invite");
    assert.equal(invited.getDMInviter(), alice.userId);
    await bob.client.joinRoom(roomId);
    const seenByBob = await bob.room(roomId);
    await until(() => seenByBob.name === "js-alice and js-carol", `the name for Bob, not ${seenByBob.name}`);
    await until(() => room.getJoinedMemberCount() === 2 && room.getInvitedMemberCount() === 1, "the counts");
    await alice.client.kick(roomId, carolId);
    await until(() => room.name === "Bob the Builder", `the name without Carol, not ${room.name}`);
    // A first sync has the heroes' members too, though they have said nothing that it shows.
    await alice.say(roomId, "so you are here");
    const second = await Person.logIn(alice.baseUrl, alice.userId);
    await second.start(1);
    assert.equal((await second.room(roomId)).name, "Bob the Builder");
    await second.client.logout(true);

    await bob.client.leave(roomId);
    const empty = "Empty room (was js-carol and Bob the Builder)";
    await until(() => room.name === empty, `the empty room's name, not ${room.name}`);
    assert.equal(room.getJoinedMemberCount(), 1);
}

/** More has happened than one sync shows: the timeline begins anew, and scrolling back closes the gap. */
async function missMuch(alice, bob, roomId) {
    const room = await bob.room(roomId);
    const before = room.getLiveTimeline();
    const comeBack = bob.goOffline();
    const said = [await alice.say(roomId, "missed 0")];
    await bob.sees(roomId, said[0]); // by the request that was on its way
    for (let number = 1; number < 40; number++) said.push(await alice.say(roomId, `missed ${number}`));
    await alice.client.setRoomTopic(roomId, "A topic of which the state tells");
    for (let number = 40; number < 70; number++) said.push(await alice.say(roomId, `missed ${number}`));
    comeBack();
    await bob.sees(roomId, said.at(-1));
    const live = room.getLiveTimeline();
    assert.notEqual(live, before, "a limited timeline is one of its own");
    assert(texts(live).length < 30, `the gap was to be left out, not ${texts(live).length} messages`);
    const topic = room.currentState.getStateEvents("m.room.topic", "").getContent().topic;
    assert.equal(topic, "A topic of which the state tells");
    while (!live.getNeighbouringTimeline("b")) await bob.client.paginateEventTimeline(live, { backwards: true, limit: 15 });
    assert.equal(live.getNeighbouringTimeline("b"), before);
    const missed = [...texts(before), ...texts(live)].filter((text) => text?.startsWith("missed"));
    assert.deepEqual(missed, [...said.keys()].map((number) => `missed ${number}`));
}

/** A new session: a short first sync, few members, and then the whole history and all members as they are asked for. */
async function comeBack(alice, bob, roomId) {
    const said = [];
    for (let number = 0; number < 45; number++) said.push(await alice.say(roomId, `number ${number}`));
    const second = await Person.logIn(bob.baseUrl, bob.userId);
    await second.start(3);
    const room = await second.room(roomId);
    const timeline = room.getLiveTimeline();
    assert.deepEqual(texts(timeline), ["number 42", "number 43", "number 44"]);
    assert.equal(timeline.getEvents().at(-1).sender.userId, alice.userId);
    assert.equal(room.getJoinedMemberCount(), 2);

    const live = room.getLiveTimeline();
    while (live.getPaginationToken("b")) await second.client.scrollback(room, 20);
    const events = live.getEvents();
    assert.equal(events[0].getType(), "m.room.create");
    assert.equal(new Set(events.map((event) => event.getId())).size, events.length, "no event twice");
    assert.deepEqual(
        texts(live),
        ["hello bob", "hello alice", undefined, ...[...Array(45).keys()].map((number) => `number ${number}`)],
    );
    await room.loadMembersIfNeeded();
    assert.deepEqual(room.getJoinedMembers().map((member) => member.userId).sort(), [alice.userId, bob.userId].sort());

    await second.sees(roomId, await alice.say(roomId, "still there?"));
    await second.client.logout(true);
    assert.equal(await refusal(second.client.whoami()), "M_UNKNOWN_TOKEN");
    return said;
}

/** A link to an old message: a timeline around it, which grows both ways until it meets the live one. */
async function jumpBack(bob, roomId, said) {
    const third = await Person.logIn(bob.baseUrl, bob.userId);
    await third.start(3);
    const room = await third.room(roomId);
    const timeline = await third.client.getEventTimeline(room.getUnfilteredTimelineSet(), said[20]);
    const numbers = () => texts(timeline).map((text) => Number(text.slice("number ".length)));
    const inARow = (found) => assert.deepEqual(found, [...found.keys()].map((index) => found[0] + index));
    const grow = (backwards) => third.client.paginateEventTimeline(timeline, { backwards, limit: 5 });
    await grow(true);
    await grow(false);
    const [first, last] = [numbers()[0], numbers().at(-1)];
    assert(first < 20 && last > 20, String(numbers()));
    inARow(numbers());
    await grow(true);
    await grow(false);
    inARow(numbers());
    assert.deepEqual([numbers()[0], numbers().at(-1)], [first - 5, last + 5]);
    while (!timeline.getNeighbouringTimeline("f"))
        await grow(false);
    assert.equal(timeline.getNeighbouringTimeline("f"), room.getLiveTimeline());
    await third.client.logout(true);
}

/** Kick, ban, unban, leave, forget; each reaches the other. */
async function partWays(alice, bob, roomId) {
    const room = await alice.room(roomId);
    const bobIs = (membership) =>
        until(() => room.getMember(bob.userId).membership === membership, `Alice to see Bob's ${membership}`);

    await alice.client.kick(roomId, bob.userId, "out");
    const own = await bob.room(roomId, "leave");
    assert.equal(own.getMember(bob.userId).events.member.getContent().reason, "out");
    await bobIs("leave");
    assert.equal(await refusal(bob.client.sendTextMessage(roomId, "?")), "M_FORBIDDEN");
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);

    await alice.client.ban(roomId, bob.userId, "stay out");
    await bob.room(roomId, "ban");
    await bobIs("ban");
    assert.equal(await refusal(bob.client.joinRoom(roomId)), "M_FORBIDDEN");
    await alice.client.unban(roomId, bob.userId);
    await bobIs("leave");
    await alice.client.invite(roomId, bob.userId, "sorry");
    await bob.room(roomId, "invite");
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);
    await bobIs("join");

    await bob.client.leave(roomId);
    await bob.room(roomId, "leave");
    await bobIs("leave");
    await bob.client.forget(roomId);
    assert.equal(bob.client.getRoom(roomId), null);
    assert.equal(await refusal(bob.client.createMessagesRequest(roomId, null, 10, "b")), "M_FORBIDDEN");
}

/** The sync loop itself notices that its session has ended. */
async function endSession(person) {
    const other = sdk.createClient({ baseUrl: person.baseUrl, accessToken: person.client.getAccessToken() });
    let loggedOut = false;
    person.client.on(sdk.HttpApiEvent.SessionLoggedOut, () => (loggedOut = true));
    await other.logout();
    await until(() => loggedOut, "the session to end");
    person.client.stopClient();
}

const [baseUrl, serverName] = process.argv.slice(2);
const alice = await Person.register(baseUrl, "js-alice");
const bob = await Person.register(baseUrl, "js-bob");
const carol = await Person.register(baseUrl, "js-carol");
const renewing = await Person.logIn(baseUrl, carol.userId, { refreshing: true });
const firstToken = renewing.client.getAccessToken();
await Promise.all([alice.start(), bob.start(), renewing.start()]);
const roomId = await createAndInvite(alice, bob, serverName);
await talk(alice, bob, roomId);
await changeState(alice, bob, roomId);
await changeProfile(alice, bob, roomId);
await bePresent(alice, bob); // before others of Bob's sessions, whose presence counts too
await lookInTheDirectory(alice, bob, roomId, serverName);
await nameByHeroes(alice, bob, carol.userId);
const said = await comeBack(alice, bob, roomId);
await jumpBack(bob, roomId, said);
await missMuch(alice, bob, roomId);
await keepForOneself(alice, bob, roomId);
await partWays(alice, bob, roomId);
for (const step of [react, edit, openThreads, readAlong, typeSomething, beNotified, ignore]) await step(alice, bob);
for (const step of [fillProfile, findPeople, keepPushers, search, upgrade, makeSpace, peek, knock]) await step(alice, bob);
await endDevices(alice);
await goOnRenewed(alice, renewing, firstToken);
await changePassword(carol);
await endSession(alice);
await endSession(bob);
console.log(JSON.stringify([...unrecognized].sort()));
// What the SDK has scheduled (retries, refreshes) must not keep the process.
process.exit(0);
