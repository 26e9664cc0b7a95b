// The page on screens from 320 pixels to a desktop's, with letters of twice the size, light and dark: everything can be
// reached, nothing is wider than the window, and axe-core finds no violation.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Page } from "playwright-core";
import { longConversation } from "../../../bench/page/answers.ts";
import type { SchedulerState } from "../../../engine/scheduler/config.ts";
import { createApp } from "../../../server/http/app.ts";
import { FakeEngine } from "../http/fake_engine.ts";
import { assertAccessible, browserTest, picture, withPage } from "./browser.ts";

const screens = [
  { name: "desktop", width: 1100, height: 760, letters: 100, dark: false },
  { name: "desktop-dark", width: 1100, height: 760, letters: 100, dark: true },
  { name: "desktop-200", width: 1100, height: 760, letters: 200, dark: false },
  { name: "phone", width: 390, height: 780, letters: 100, dark: false },
  { name: "phone-dark", width: 390, height: 780, letters: 100, dark: true },
  { name: "320", width: 320, height: 640, letters: 100, dark: false },
  { name: "320-200", width: 320, height: 640, letters: 200, dark: false },
];

/** An engine with something to see in its tab. */
class BusyEngine extends FakeEngine {
  override async inspect(): Promise<SchedulerState> {
    const request = (id: string, phase: "waiting" | "prefill" | "decode") => ({
      id,
      phase,
      promptTokens: 1200,
      computedTokens: 1100,
      cachedTokens: 1000,
      outputTokens: 12,
    });
    const run = (depth: number, tokens: number, locks: number, hits: number) => ({
      depth,
      tokens,
      locks,
      hits,
    });
    return {
      counters: await this.counters(),
      requests: [
        request("chatcmpl-one", "decode"),
        request("chatcmpl-two", "prefill"),
        request("three", "waiting"),
      ],
      runs: [run(0, 1000, 2, 1), run(1, 100, 1, 0), run(1, 200, 1, 0), run(0, 40, 0, 3)],
      runsTotal: 4,
    };
  }
}

/** Everything that the window must show is in it, and it has no second scrollbar. */
async function assertFits(page: Page, names: readonly string[]): Promise<void> {
  const [width, height] = await page.evaluate<number[]>(
    "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]",
  );
  const size = page.viewportSize()!;
  assert.ok(width! <= size.width && height! <= size.height, `${width} x ${height}`);
  for (const name of names) {
    const box =
      (await page.getByLabel(name, { exact: true }).or(page.getByRole("button", { name, exact: true }))
        .first().boundingBox())!;
    assert.ok(
      box.x >= 0 && box.y >= 0 && box.x + box.width <= size.width && box.y + box.height <= size.height,
      `${name} at ${JSON.stringify(box)}`,
    );
  }
}

browserTest("every part of the page fits every screen, and is accessible there", async () => {
  const code = `\`\`\`python\n${"value = compute(value)  # one of many lines\n".repeat(80)}\`\`\`\n`;
  const engine = new BusyEngine(() => ({ pieces: [`Here it is:\n\n${code}`] }), { contextLength: 2 ** 20 });
  await withPage(createApp(engine, { logFormat: "none" }), async (page) => {
    await page.getByLabel("File to import").setInputFiles({
      name: "long.json",
      mimeType: "application/json",
      buffer: Buffer.from(longConversation(50, 600)),
    });
    await page.getByText("Question 1:").waitFor();
    await page.getByRole("button", { name: "Dismiss" }).click();
    for (const { name, width, height, letters, dark } of screens) {
      await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
      await page.setViewportSize({ width, height });
      await page.evaluate(`document.documentElement.style.fontSize = "${letters}%"`);
      const seen = async (what: string, names: readonly string[]) => {
        await picture(page, `${name}-${what}`);
        await assertFits(page, names);
        await assertAccessible(page);
      };
      await seen("messages", ["Message", "Send", "Settings", "Keyboard shortcuts", "Engine"]);
      const room = (await page.locator(".scroller").boundingBox())!.height;
      assert.ok(room > height / 3, `${room} of ${height} pixels for messages on ${name}`);
      await page.getByRole("button", { name: "Settings", exact: true }).click();
      await page.getByRole("dialog", { name: "Settings" }).waitFor();
      await seen("settings", ["Close settings"]);
      await page.keyboard.press("Escape");
      const menu = page.getByRole("button", { name: "Conversations", exact: true });
      if (await menu.isVisible()) {
        await menu.click();
        await page.getByRole("dialog", { name: "Conversations" }).waitFor();
        await seen("list", ["Close conversations"]);
        await page.keyboard.press("Escape");
      }
      await page.getByRole("button", { name: "Engine", exact: true }).click();
      await page.getByText("chatcmpl-one").waitFor();
      await seen("engine", ["Chat"]);
      await page.getByRole("button", { name: "Chat", exact: true }).click();
      await page.getByText("Question 25:").waitFor();
    }
    await page.setViewportSize({ width: 1100, height: 760 });
    await page.evaluate("document.documentElement.style.fontSize = ''");
    await page.getByRole("textbox", { name: "Message", exact: true }).fill("a long program");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Copy code" }).last().waitFor();
    for (const [name, width] of [["desktop", 1100], ["phone", 390]] as const) {
      await page.setViewportSize({ width, height: 760 });
      await picture(page, `${name}-code`);
      await assertFits(page, ["Message"]);
      await assertAccessible(page);
    }
  });
});
