// What two people do with messages: reactions, edits, threads, receipts, typing, presence, notifications.

import assert from "node:assert/strict";

import { newRoom, sdk, texts, until } from "./person.mjs";

const { NotificationCountType, ReceiptType, RelationType, ThreadFilterType } = sdk;

/** A reaction is counted under its message, and no longer after it is taken back. */
export async function react(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const target = await alice.say(roomId, "do you like it?");
    await bob.sees(roomId, target);
    const { event_id: reaction } = await bob.client.sendEvent(roomId, "m.reaction", {
        "m.relates_to": { rel_type: RelationType.Annotation, event_id: target, key: "👍" },
    });
    const room = await alice.room(roomId);
    const counted = () =>
        room.relations
            .getChildEventsForEvent(target, RelationType.Annotation, "m.reaction")
            ?.getSortedAnnotationsByKey()
            .filter(([, events]) => events.size)
            .map(([key, events]) => [key, [...events].map((event) => event.getSender())]);
    await until(() => counted()?.length === 1, "the reaction");
    assert.deepEqual(counted(), [["👍", [bob.userId]]]);
    await bob.client.redactEvent(roomId, reaction);
    await until(() => counted().length === 0, "the reaction to go");
}

/** An edit takes the place of the message, in the sync and for who asks for the message. */
export async function edit(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const original = await alice.say(roomId, "helo");
    const seen = await bob.sees(roomId, original);
    const { event_id: editId } = await alice.client.sendMessage(roomId, {
        "msgtype": "m.text",
        "body": "* hello",
        "m.new_content": { msgtype: "m.text", body: "hello" },
        "m.relates_to": { rel_type: RelationType.Replace, event_id: original },
    });
    await until(() => seen.replacingEventId() === editId, "the edit");
    assert.equal(seen.getContent().body, "hello");
    assert.equal(seen.getOriginalContent().body, "helo");
    const fetched = await bob.client.fetchRoomEvent(roomId, original);
    assert.equal(fetched.content.body, "helo");
    assert.equal(fetched.unsigned["m.relations"]["m.replace"].event_id, editId);
}

/** Replies in threads stay out of the room's timeline; each thread counts apart what is unread in it. */
export async function openThreads(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const rootId = await alice.say(roomId, "a root");
    const rootSeen = await bob.sees(roomId, rootId);
    // As Element does when its user opens a thread to write into it.
    const threadOfBob = (await bob.room(roomId)).createThread(rootId, rootSeen, [], true);
    const room = await alice.room(roomId);
    const inThread = () => texts(room.getThread(rootId)?.liveTimeline ?? room.getLiveTimeline());
    const replies = [];
    for (const text of ["first", "second", "third"]) {
        const content = { msgtype: "m.text", body: text };
        replies.push((await bob.client.sendMessage(roomId, rootId, content)).event_id);
        // What comes while the SDK loads the thread it may put elsewhere.
        await until(() => inThread().includes(text), "the reply in the thread");
    }
    const thread = room.getThread(rootId);
    assert.deepEqual(texts(thread.liveTimeline), ["a root", "first", "second", "third"]);
    assert.deepEqual(texts(room.getLiveTimeline()), ["a root"]);
    // What the SDK itself counts may be of a moment ago; this is what it has from the server.
    const { count, latest_event } = (await alice.client.fetchRoomEvent(roomId, rootId)).unsigned["m.relations"]["m.thread"];
    assert.deepEqual([count, latest_event.event_id], [3, replies[2]]);

    const unread = () => room.getThreadUnreadNotificationCount(rootId, NotificationCountType.Total);
    await until(() => unread() === 3, "three unread replies");
    assert.equal(room.getRoomUnreadNotificationCount(NotificationCountType.Total), 0);
    await alice.client.sendReadReceipt(thread.findEventById(replies[2]));
    await until(() => unread() === 0, "the thread to be read");
    await until(() => threadOfBob.getEventReadUpTo(alice.userId) === replies[2], "Alice's receipt in the thread");

    const { events } = await bob.client.relations(roomId, rootId, RelationType.Thread, null, { dir: "f" });
    assert.deepEqual(events.map((event) => event.getId()), replies);
    const other = await alice.say(roomId, "another root");
    await alice.client.sendMessage(roomId, other, { msgtype: "m.text", body: "to myself" });
    // The SDK turns the page round: oldest first.
    const listed = async (person, filter) =>
        (await person.client.createThreadListMessagesRequest(roomId, null, 10, "b", filter)).chunk;
    assert.deepEqual((await listed(bob, ThreadFilterType.All)).map((event) => event.event_id), [rootId, other]);
    const [own, ...more] = await listed(bob, ThreadFilterType.My);
    assert.deepEqual([own.event_id, more.length], [rootId, 0]);
    assert.equal(own.unsigned["m.relations"]["m.thread"].count, 3);
    await room.createThreadsTimelineSets();
    await room.fetchRoomThreads();
    assert.equal(room.getThreads().length, 2);
}

/** Receipts, public and private, and how far one has really read. */
export async function readAlong(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const room = await alice.room(roomId);
    const own = await bob.room(roomId);
    const said = [];
    for (const text of ["one", "two", "three"]) said.push(await alice.say(roomId, text));
    const events = [];
    for (const eventId of said) events.push(await bob.sees(roomId, eventId));
    const unread = () => own.getUnreadNotificationCount(NotificationCountType.Total);
    await until(() => unread() === 3, "three unread messages");

    const readBy = (person) => room.getReadReceiptForUserId(person.userId, true)?.eventId;
    await bob.client.sendReadReceipt(events[0]);
    await until(() => readBy(bob) === said[0], "Bob's receipt");
    assert.equal(room.hasUserReadEvent(bob.userId, said[0]), true);
    await bob.client.sendReadReceipt(events[1], ReceiptType.ReadPrivate);
    await alice.sees(roomId, await bob.say(roomId, "after my private receipt"));
    assert.equal(readBy(bob), said[0], "a private receipt has reached Alice");

    await bob.client.setRoomReadMarkers(roomId, said[2], events[2]);
    await until(() => readBy(bob) === said[2], "the receipt of the marker");
    await until(() => own.getAccountData("m.fully_read")?.getContent().event_id === said[2], "the marker");
    await until(() => unread() === 0, "nothing to be unread");
    assert.equal(room.getAccountData("m.fully_read"), undefined);
}

/** Who is typing is seen, and who is done. */
export async function typeSomething(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const room = await alice.room(roomId);
    const typing = () => room.getMember(bob.userId)?.typing;
    await bob.client.sendTyping(roomId, true, 20_000);
    await until(() => typing(), "Bob to be typing");
    await bob.client.sendTyping(roomId, false);
    await until(() => !typing(), "Bob to be done");
}

/** Presence reaches who shares a room, and can be asked for. */
export async function bePresent(alice, bob) {
    for (const [presence, status_msg] of [["unavailable", "at lunch"], ["online", "back again"]]) {
        await bob.client.setSyncPresence(presence);
        await bob.client.setPresence({ presence, status_msg });
        const user = () => alice.client.getUser(bob.userId);
        await until(() => user()?.presence === presence && user().presenceStatusMsg === status_msg, `Bob ${presence}`);
        const asked = await alice.client.getPresence(bob.userId);
        assert.deepEqual([asked.presence, asked.status_msg], [presence, status_msg]);
    }
}

/** A mention is a highlight, and stands in the list of notifications. */
export async function beNotified(alice, bob) {
    const roomId = await newRoom(alice, [bob]);
    const room = await bob.room(roomId);
    await alice.say(roomId, "nobody in particular");
    const { event_id: mention } = await alice.client.sendMessage(roomId, {
        "msgtype": "m.text",
        "body": "you there",
        "m.mentions": { user_ids: [bob.userId] },
    });
    const event = await bob.sees(roomId, mention);
    const counts = () =>
        [NotificationCountType.Total, NotificationCountType.Highlight].map((type) => room.getUnreadNotificationCount(type));
    await until(() => counts().join() === "2,1", "two unread messages, one of them a mention");
    assert.deepEqual(bob.client.getPushActionsForEvent(event).tweaks.highlight, true);

    bob.client.setNotifTimelineSet(new sdk.EventTimelineSet(undefined, { timelineSupport: true }, bob.client));
    bob.client.resetNotifTimelineSet();
    const timeline = bob.client.getNotifTimelineSet().getLiveTimeline();
    await bob.client.paginateEventTimeline(timeline, { backwards: true, limit: 5 });
    const found = timeline.getEvents().map((notified) => [notified.getId(), notified.getRoomId()]);
    assert.deepEqual(found.at(-1), [mention, roomId]);
    await bob.client.sendReadReceipt(event);
    await until(() => counts().join() === "0,0", "nothing to be unread");
}
