// What people do with more than one room: search, upgrades, spaces, looking in from outside, knocks.

import assert from "node:assert/strict";

import { newRoom, refusal, RoomHierarchy, sdk, texts, until } from "./person.mjs";

/** The server's index finds words in all rooms of who searches, newest first, with what stands around them. */
export async function search(alice, bob) {
    const first = await newRoom(alice, [bob]);
    const second = await newRoom(alice, [bob]);
    const elsewhere = await newRoom(alice, []);
    await alice.say(first, "before");
    const zebra = await alice.say(first, "A zebra, two zebras");
    await bob.say(first, "after");
    const other = await bob.say(second, "the other Zebra");
    await alice.say(elsewhere, "a zebra that is mine alone");
    const gone = await alice.say(first, "a zebra that goes");
    await alice.client.redactEvent(first, gone);

    const found = async (options) => await bob.client.searchRoomEvents({ term: "zebra", ...options });
    const ids = ({ results }) => results.map((result) => result.context.getEvent().getId());
    const all = await found({});
    assert.deepEqual([ids(all), all.count], [[other, zebra], 2]);
    assert.deepEqual(all.highlights.sort(), ["zebra", "zebras"]); // the words as they are written
    const around = all.results[1].context.getTimeline().map((event) => event.getContent().body);
    assert.deepEqual(around, ["before", "A zebra, two zebras", "after"]);
    assert.deepEqual(ids(await found({ filter: { rooms: [first] } })), [zebra]);
    const paged = await found({ filter: { limit: 1 } });
    assert.deepEqual(ids(paged), [other]);
    assert.deepEqual(ids(await bob.client.backPaginateRoomEventsSearch(paged)), [other, zebra]);
    assert.deepEqual(ids(await found({ term: "giraffe" })), []);
}

/** An upgrade leads everybody to the new room, by the tombstone and by the alias; the two know of each other. */
export async function upgrade(alice, bob) {
    const old = await newRoom(alice, [bob], {
        preset: "public_chat",
        room_version: "11",
        room_alias_name: "js-upgraded",
        name: "To be upgraded",
    });
    const left = await bob.room(old);
    const alias = left.getCanonicalAlias();
    assert.equal(await refusal(bob.client.upgradeRoom(old, "12")), "M_FORBIDDEN");
    const { replacement_room: next } = await alice.client.upgradeRoom(old, "12");
    const tombstone = await until(() => left.currentState.getStateEvents("m.room.tombstone", ""), "the tombstone");
    assert.equal(tombstone.getContent().replacement_room, next);
    assert.equal((await bob.client.getRoomIdForAlias(alias)).room_id, next);
    await bob.client.joinRoom(next, { viaServers: [bob.client.getDomain()] });
    const room = await bob.room(next);
    assert.deepEqual([room.getVersion(), room.name, room.getCanonicalAlias()], ["12", "To be upgraded", alias]);
    assert.equal(room.findPredecessor().roomId, old);
    const history = bob.client.getRoomUpgradeHistory(next, true).map((known) => known.roomId);
    assert.deepEqual(history, [old, next]);
    assert.equal(await refusal(bob.client.sendTextMessage(old, "is anybody left?")), "M_FORBIDDEN");
    await alice.sees(next, await bob.say(next, "here we are"));
}

/** A space is looked through page by page; who is in it may join what is in it. */
export async function makeSpace(alice, bob) {
    const make = (options) => newRoom(alice, [], options);
    const asSpace = { preset: "public_chat", creation_content: { type: "m.space" } };
    const space = await make({ ...asSpace, name: "The space" });
    const inner = await make({ ...asSpace, name: "The inner space" });
    const open = await make({ preset: "public_chat", name: "Open", topic: "to all" });
    const allow = [{ type: "m.room_membership", room_id: space }];
    const join_rules = { type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow } };
    const members = await make({ preset: "private_chat", name: "Of members", initial_state: [join_rules] });
    const hidden = await make({ preset: "private_chat", name: "Hidden" });
    const put = (parent, child, content) =>
        alice.client.sendStateEvent(parent, "m.space.child", { via: [alice.client.getDomain()], ...content }, child);
    await put(space, open, { order: "a", suggested: true });
    await put(space, members, { order: "b" });
    await put(space, hidden, { order: "c" });
    await put(space, inner, { order: "d" });
    await put(inner, open, {});

    assert.equal(await refusal(bob.client.joinRoom(members)), "M_FORBIDDEN");
    await bob.client.joinRoom(space);
    const root = await bob.room(space);
    assert.equal(root.getType(), "m.space");
    const load = async (suggestedOnly) => {
        const hierarchy = new RoomHierarchy(root, 2, undefined, suggestedOnly);
        while (hierarchy.canLoadMore) await hierarchy.load();
        return hierarchy;
    };
    const hierarchy = await load(false);
    assert.deepEqual(hierarchy.rooms.map((room) => room.room_id), [space, open, members, inner]);
    assert.deepEqual(hierarchy.backRefs.get(open), [space, inner]);
    assert.equal(hierarchy.isSuggested(space, open), true);
    const [, listed] = hierarchy.rooms;
    assert.deepEqual([listed.name, listed.topic, listed.num_joined_members], ["Open", "to all", 1]);
    assert.deepEqual((await load(true)).rooms.map((room) => room.room_id), [space, open]);
    await bob.client.joinRoom(members);
    await bob.room(members);

    const { event_id: found } = await bob.client.timestampToEvent(members, 0, "f");
    assert.equal((await bob.client.fetchRoomEvent(members, found)).type, "m.room.create");
}

/** Who is not in the room sees what is said in it, if all the world may. */
export async function peek(alice, bob) {
    const history = { type: "m.room.history_visibility", state_key: "" };
    const roomId = await newRoom(alice, [], {
        preset: "public_chat",
        initial_state: [{ ...history, content: { history_visibility: "world_readable" } }],
    });
    await alice.say(roomId, "before Bob looks in");
    const room = await bob.client.peekInRoom(roomId);
    assert.deepEqual(texts(room.getLiveTimeline()), ["before Bob looks in"]);
    await alice.say(roomId, "while he looks");
    await until(() => texts(room.getLiveTimeline()).length === 2, "what is said meanwhile");
    bob.client.stopPeeking();
    const closed = await newRoom(alice, []);
    assert.equal(await refusal(bob.client.peekInRoom(closed)), "M_FORBIDDEN");
    bob.client.stopPeeking();
}

/** Who knocks is seen by those inside, and let in by one of them. */
export async function knock(alice, bob) {
    const rule = { type: "m.room.join_rules", state_key: "", content: { join_rule: sdk.JoinRule.Knock } };
    const roomId = await newRoom(alice, [], { name: "Knock first", initial_state: [rule] });
    await bob.client.knockRoom(roomId, { reason: "let me in" });
    const outside = await bob.room(roomId, "knock");
    assert.equal(outside.name, "Knock first");
    const room = await alice.room(roomId);
    const member = await until(() => room.getMember(bob.userId), "the knock");
    assert.deepEqual([member.membership, member.events.member.getContent().reason], ["knock", "let me in"]);
    await alice.client.invite(roomId, bob.userId);
    await bob.room(roomId, "invite");
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);
}
