// A person with Hydrogen in Chromium: node journey.mjs HOMESERVER USERNAME PASSWORD SCREENSHOTS ENVIRONMENT
//
// Logs in on the login page, makes a public room , says something, and waits for the
// answer. Prints as JSON what went wrong on the page and what the server refused. SCREENSHOTS: a directory for what was seen;
// ENVIRONMENT: where Hydrogen is installed.

import { createReadStream } from "node:fs";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const [homeserver, username, password, screenshots, environment] = process.argv.slice(2);
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

/** What a person does; each step waits for what it makes appear. */
async function journey(page, url) {
    const picture = (name) => page.screenshot({ path: path.join(screenshots, `${name}.png`) });
    await page.goto(`${url}?homeserver=${encodeURIComponent(homeserver)}`);
    await page.fill("#username", username);
    await page.fill("#password", "not the password");
    await page.click("button[type=submit]");
    await page.getByText("Your username and/or password don't seem to be correct.").waitFor();
    await picture("1-refused");
    await page.fill("#password", password);
    await page.click("button[type=submit]");
    await page.locator(".LeftPanel").waitFor();

    await page.locator(".LeftPanel .button-utility.create").click();
    await page.getByText("Create room", { exact: false }).first().click();
    await page.fill("#name", "The room of Hydrogen");
    await page.fill("#topic", "Made in a browser");
    await page.check("#isPublic");
    await page.fill("#roomAlias", "hydrogen");
    await picture("2-new-room");
    await page.locator(".CreateRoomView_detailsForm button[type=submit]").click();
    // Hydrogen 0.3.1 makes the room and then opens one without an ID: a mistake of its own (OWN_MISTAKE).
    await page.locator(".LeftPanel .RoomList").getByText("The room of Hydrogen").click();
    await page.locator(".RoomView h2").getByText("The room of Hydrogen").waitFor();

    const composer = page.locator(".MessageComposer_input textarea");
    await composer.fill("Hello from a browser");
    await composer.press("Enter");
    const messages = page.locator(".Timeline_messageBody, .Timeline .Timeline_message");
    await messages.getByText("Hello from a browser").waitFor();
    await messages.getByText("Hello back").waitFor();
    await picture("3-conversation");
    await page.reload();
    await messages.getByText("Hello back").waitFor();
    await picture("4-after-reload");
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
