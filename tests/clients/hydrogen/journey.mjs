// A person with Hydrogen in Chromium: node journey.mjs HOMESERVER USERNAME PASSWORD LOBBY SCREENSHOTS ENVIRONMENT
//
// Logs in on the login page, makes a public room, says something, waits for the answer, reacts, replies, takes a message back,
// and visits another room: test_hydrogen.py plays the other person. Prints as JSON what went wrong on the page and what the
// server refused. LOBBY: the alias of the other room; SCREENSHOTS: a directory for what was seen; ENVIRONMENT: where Hydrogen is installed.

import { createReadStream } from "node:fs";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [homeserver, username, password, lobby, screenshots, environment] = process.argv.slice(2);
const require = createRequire(path.join(environment, "package.json"));
const esbuild = require("esbuild");
const { chromium } = require("playwright-core");

const HERE = path.dirname(fileURLToPath(import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

const OWN_MISTAKE = "getKey(true) failed";

/** The page in one script and one stylesheet, in a directory of its own. */
async function build() {
    const directory = await mkdtemp(path.join(os.tmpdir(), "hydrogen-"));
    await esbuild.build({
        entryPoints: [path.join(HERE, "page", "app.js"), path.join(HERE, "page", "index.html")],
        outdir: directory,
        bundle: true,
        format: "esm",
        logLevel: "error",
        nodePaths: [path.join(environment, "node_modules")],
        external: ["fs", "path", "crypto"],
        assetNames: "assets/[name]-[hash]",
        loader: { ".html": "copy", ".svg": "file", ".woff": "file", ".woff2": "file", ".png": "file" },
    });
    const worker = path.join(environment, "node_modules", "hydrogen-view-sdk", "lib-build", "sw.js");
    await copyFile(worker, path.join(directory, "sw.js"));
    return directory;
}

/** The directory, served on loopback; the address of its page. */
async function serve(directory) {
    const server = http.createServer((request, response) => {
        const name = path.normalize(decodeURIComponent(new URL(request.url, "http://page").pathname));
        const file = path.join(directory, name === "/" ? "index.html" : name);
        const stream = createReadStream(file);
        stream.on("open", () => {
            response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" });
            stream.pipe(response);
        });
        stream.on("error", () => response.writeHead(404).end());
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { server, url: `http://127.0.0.1:${server.address().port}/` };
}

const picture = (page, name) => page.screenshot({ path: path.join(screenshots, `${name}.png`) });

/** Says something in the room that is open. */
async function say(page, text) {
    const composer = page.locator(".MessageComposer_input textarea");
    await composer.fill(text);
    await composer.press("Enter");
}

/** The message in the open room that has the text. */
const message = (page, text) => page.locator(".Timeline li.Timeline_message").filter({ hasText: text }).first();

/** Opens the menu of a message and takes one of its options. */
async function choose(page, text, option) {
    await message(page, text).hover();
    await message(page, text).locator(".Timeline_messageOptions").click();
    await page.locator(".menu").getByRole("button", { name: option, exact: true }).click();
}

/** Logs in, at the second try, and makes a room. */
async function logInAndMakeRoom(page, url) {
    await page.goto(`${url}?homeserver=${encodeURIComponent(homeserver)}`);
    await page.fill("#username", username);
    await page.fill("#password", "not the password");
    await page.click("button[type=submit]");
    await page.getByText("Your username and/or password don't seem to be correct.").waitFor();
    await picture(page, "1-refused");
    await page.fill("#password", password);
    await page.click("button[type=submit]");
    await page.locator(".LeftPanel").waitFor();

    await page.locator(".LeftPanel .button-utility.create").click();
    await page.getByText("Create room", { exact: false }).first().click();
    await page.fill("#name", "The room of Hydrogen");
    await page.fill("#topic", "Made in a browser");
    await page.check("#isPublic");
    await page.fill("#roomAlias", "hydrogen");
    await picture(page, "2-new-room");
    await page.locator(".CreateRoomView_detailsForm button[type=submit]").click();
    // Hydrogen 0.3.1 makes the room and then opens one without an ID: a mistake of its own (OWN_MISTAKE).
    await page.locator(".LeftPanel .RoomList").getByText("The room of Hydrogen").click();
    await page.locator(".RoomView h2").getByText("The room of Hydrogen").waitFor();
}

/** Messages, reactions, a reply and a redaction, both ways; they are there after a reload too. */
async function talk(page) {
    await say(page, "Hello from a browser");
    await message(page, "Hello from a browser").waitFor();
    await message(page, "Hello back").waitFor();
    await picture(page, "3-conversation");

    await choose(page, "Hello back", "👍");
    const reactions = (text) => message(page, text).locator(".Timeline_messageReactions");
    await reactions("Hello back").getByText("👍 1").waitFor();
    await reactions("Hello from a browser").getByText("🎉 1").waitFor();
    await choose(page, "Hello back", "Reply");
    await page.locator(".MessageComposer_replyPreview").waitFor();
    await say(page, "A reply from a browser");
    await message(page, "I have seen your reply").waitFor();
    await say(page, "Soon taken back");
    await message(page, "Was that a slip?").waitFor();
    await picture(page, "4-reactions-and-reply");
    await choose(page, "Soon taken back", "Delete");
    await message(page, "It is gone").waitFor();
    await page.locator(".Timeline").getByText("This message has been deleted").waitFor();

    await page.reload();
    await message(page, "It is gone").waitFor();
    await reactions("Hello back").getByText("👍 1").waitFor();
    await message(page, "You have read it").waitFor(); // Hydrogen sends a receipt two seconds after a room is opened
    await picture(page, "5-after-reload");
}

/** Joins a room by its alias, is greeted, and leaves. */
async function visit(page, alias) {
    await page.locator(".LeftPanel .button-utility.create").click();
    await page.getByText("Join Room").click();
    await page.fill("#id", alias);
    await page.locator(".JoinRoomView button[type=submit]").click();
    await page.locator(".RoomView h2").getByText("The lobby").waitFor();
    await message(page, "Welcome").waitFor();
    await picture(page, "6-joined-by-alias");
    page.once("dialog", (dialog) => dialog.accept());
    await page.locator(".RoomHeader .room-options").click();
    await page.locator(".menu").getByText("Leave room").click();
    await page.locator(".LeftPanel .RoomList").getByText("The lobby").waitFor({ state: "detached" });
    await picture(page, "7-left");
}

/** What a person does; each step waits for what it makes appear. */
async function journey(page, url) {
    await logInAndMakeRoom(page, url);
    await talk(page);
    await visit(page, lobby);
}

const directory = await build();
const { server, url } = await serve(directory);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    page.setDefaultTimeout(30_000);
    const wrong = [];
    const refused = [];
    page.on("pageerror", (error) => String(error).includes(OWN_MISTAKE) || wrong.push(String(error)));
    page.on("response", (answer) => {
        const { pathname } = new URL(answer.url());
        if (answer.status() >= 400 && answer.url().startsWith(homeserver)) {
            refused.push(`${answer.status()} ${answer.request().method()} ${pathname}`);
        }
    });
    try {
        await journey(page, url);
    } catch (error) {
        await page.screenshot({ path: path.join(screenshots, "failed.png") });
        console.error(JSON.stringify({ wrong, refused }, null, 2));
        throw error;
    }
    console.log(JSON.stringify({ wrong, refused }));
} finally {
    await browser.close();
    server.close();
    await rm(directory, { recursive: true });
}
