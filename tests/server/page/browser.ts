// The page in a real browser. With RADISH_SCREENSHOTS=DIR tests leave pictures there.

import assert from "node:assert/strict";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { type App, createApp } from "../../../server/http/app.ts";
import { listen } from "../../../server/http/server.ts";
import type { FakeEngine } from "../http/fake_engine.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  },
);
if (!executablePath) console.warn("the page is not tested: no Chromium here (apt-get install -y chromium)");

/** A test that needs a browser. */
export const browserTest = (name: string, fn: () => Promise<void>): void =>
  Deno.test({ name, fn, ignore: executablePath === undefined });

/** The server of an engine, without a log. */
export const appOf = (engine: FakeEngine): App => createApp(engine, { logFormat: "none" });

export interface Visit {
  /** Ends the server and starts `app` at the same address. */
  restart(app: App): Promise<void>;
}

/** Opens the page of `app`. Afterwards nothing may have failed in it, and nothing gone to another host. */
export async function withPage(
  app: App,
  run: (page: Page, visit: Visit) => Promise<void>,
  expected: readonly RegExp[] = [],
): Promise<void> {
  let server = listen(app, { hostname: "127.0.0.1", port: 0 });
  const { url } = server;
  const [apiKey] = app.service.options.apiKeys;
  let browser: Browser | null = null;
  try {
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--enable-smooth-scrolling",
      ],
    });
    const page = await browser.newPage({
      viewport: { width: 1100, height: 760 },
      ...(apiKey === undefined ? {} : { httpCredentials: { username: "me", password: apiKey } }),
    });
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("request", (request) => {
      if (!/^(?:data|blob):/.test(request.url()) && !request.url().startsWith(url)) {
        faults.push(request.url());
      }
    });
    await page.goto(url);
    await run(page, {
      async restart(next) {
        await server.shutdown(5000);
        server = listen(next, { hostname: "127.0.0.1", port: Number(new URL(url).port) });
      },
    });
    assert.deepEqual(faults.filter((fault) => !expected.some((each) => each.test(fault))), []);
  } finally {
    await browser?.close();
    await server.shutdown(5000);
  }
}

/** Leaves a picture, if somebody wants to see one. */
export async function picture(page: Page, name: string): Promise<void> {
  const directory = Deno.env.get("RADISH_SCREENSHOTS");
  if (directory) await page.screenshot({ path: `${directory}/${name}.png` });
}

/** No violation of the rules that axe-core knows. */
export async function assertAccessible(page: Page): Promise<void> {
  // The page's policy forbids foreign scripts; the browser's own channel does not ask it.
  const found = await page.evaluate(`${axe.source}; axe.run(document).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html).join(" ").slice(0, 300)))`);
  assert.deepEqual(found, []);
}

/** Writes a message and sends it. */
export async function ask(page: Page, text: string): Promise<void> {
  const message = page.getByRole("textbox", { name: "Message", exact: true });
  await message.fill(text);
  await message.press("Enter");
}

/** Comes back when the page shows what is asked for; an error after a minute. */
export async function eventually(page: Page, holds: () => Promise<boolean>): Promise<void> {
  const began = performance.now();
  while (!await holds()) {
    assert.ok(performance.now() - began < 60_000, `not within a minute: ${holds}`);
    await page.waitForTimeout(50);
  }
}
