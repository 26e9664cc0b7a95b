// The page at `/` in a real browser: it streams an answer, shows speed and cached tokens, and can be stopped.
// With RADISH_SCREENSHOTS=DIR it leaves pictures there.

import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { type App, createApp } from "../../../server/http/app.ts";
import { listen } from "../../../server/http/server.ts";
import { FakeEngine } from "./fake_engine.ts";
import { startPocket } from "./pocket.ts";

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

async function withPage(
  app: App,
  run: (page: Page) => Promise<void>,
  expected: readonly RegExp[] = [],
): Promise<void> {
  const server = listen(app, { hostname: "127.0.0.1", port: 0 });
  const [apiKey] = app.service.options.apiKeys;
  let browser: Browser | null = null;
  try {
    browser = await chromium.launch({
      executablePath: executablePath!,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    const page = await browser.newPage({
      viewport: { width: 1100, height: 760 },
      ...(apiKey === undefined ? {} : { httpCredentials: { username: "me", password: apiKey } }),
    });
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith("data:")) {
        faults.push(request.url());
      }
    });
    await page.goto(server.url);
    await run(page);
    assert.deepEqual(faults.filter((fault) => !expected.some((each) => each.test(fault))), []);
  } finally {
    await browser?.close();
    await server.shutdown(5000);
  }
}

async function picture(page: Page, name: string): Promise<void> {
  const directory = Deno.env.get("RADISH_SCREENSHOTS");
  if (directory) await page.screenshot({ path: `${directory}/${name}.png` });
}

const browserTest = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name, fn, ignore: executablePath === undefined });

browserTest(
  "the page asks, streams answers, thinks aloud, and says how fast and how much was cached",
  async () => {
    await using pocket = await startPocket();
    await withPage(pocket.app, async (page) => {
      await page.getByText("pocket ·").waitFor();
      await picture(page, "page-empty");
      await page.getByRole("button", { name: "What is 23 plus 48?" }).click();
      await page.getByText("23 plus 48 is 71.").waitFor();
      await page.locator(".stats").last().getByText(/tokens\/s · prompt 18 tokens, \d+ from the cache/)
        .waitFor();

      const message = page.getByRole("textbox", { name: "Message", exact: true });
      await message.fill("Think, then answer: what is 3 plus 4 plus 5?");
      await message.press("Enter");
      await page.getByText("The answer is 12.").waitFor();
      assert.equal(await page.locator("details div").textContent(), "3 plus 4 is 7. 7 plus 5 is 12.");
      await page.locator(".stats").last().getByText(/prompt \d+ tokens, (?!0 )\d+ from the cache/).waitFor();
      await picture(page, "page-answers");
      await page.emulateMedia({ colorScheme: "dark" });
      await picture(page, "page-dark");
      await page.setViewportSize({ width: 390, height: 780 });
      await picture(page, "page-narrow");
    });
  },
);

browserTest("the page's settings reach the model", async () => {
  await using pocket = await startPocket();
  await withPage(pocket.app, async (page) => {
    await page.getByLabel("System message").fill("Answer in capital letters.");
    await page.getByLabel("Most tokens").fill("4");
    await page.getByRole("textbox", { name: "Message", exact: true }).fill("What is the capital of Japan?");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".stats").last().getByText("ended by length").waitFor();
    assert.match(await page.locator(".assistant .text").last().textContent() ?? "", /^THE /);
    await page.getByRole("button", { name: "New conversation" }).click();
    assert.equal(await page.locator(".turn").count(), 0);
  });
});

browserTest("an answer can be stopped, which ends its request in the engine", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  const app = createApp(engine, { logFormat: "none", keepAliveMs: 20 });
  await withPage(app, async (page) => {
    await page.getByRole("textbox", { name: "Message", exact: true }).fill("hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.getByRole("button", { name: "Stop" }).click();
    await page.locator(".stats").last().getByText("ended by you").waitFor();
    assert.equal(await page.getByRole("button", { name: "Send" }).isVisible(), true);
    while (engine.live.size > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  });
});

browserTest("a refused request shows its reason in the page", async () => {
  const app = createApp(new FakeEngine(), { logFormat: "none" });
  await withPage(app, async (page) => {
    await page.getByLabel("Most tokens").fill("99999");
    await page.getByRole("textbox", { name: "Message", exact: true }).fill("hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.locator(".failed").getByText("max_tokens is 99999, but the context is 4096 tokens long")
      .waitFor();
  }, [/400 \(Bad Request\)/]);
});

browserTest("with a key the browser asks for it once, and the page then works", async () => {
  await using pocket = await startPocket({}, { apiKeys: ["s3cret"] });
  await withPage(pocket.app, async (page) => {
    await page.getByText("pocket ·").waitFor();
    await page.getByRole("button", { name: "What is 23 plus 48?" }).click();
    await page.getByText("23 plus 48 is 71.").waitFor();
  });
});
