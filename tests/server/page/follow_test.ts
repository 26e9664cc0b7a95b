// The view follows an answer that grows, until the reader looks up.

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { FakeEngine } from "../http/fake_engine.ts";
import { appOf, ask, browserTest, eventually, withPage } from "./browser.ts";

/** Where the view stands, and how far from the end, in pixels. */
type Place = () => Promise<{ readonly top: number; readonly left: number }>;

/** A page with an answer that is longer than the view and goes on growing, and the pointer on it. */
async function withGrowingAnswer(run: (page: Page, place: Place) => Promise<void>): Promise<void> {
  const lines = Array.from({ length: 20_000 }, (_, i) => i % 20 === 0 ? "\n\n" : "word ");
  const engine = new FakeEngine(() => ({ pieces: ["A line.\n\n".repeat(60), ...lines], perSecond: 150 }), {
    contextLength: 2 ** 20,
  });
  await withPage(appOf(engine), async (page) => {
    const place = () =>
      page.locator(".scroller").evaluate((e) => ({
        top: e.scrollTop,
        left: e.scrollHeight - e.scrollTop - e.clientHeight,
      }));
    await ask(page, "go");
    await eventually(page, async () => (await place()).top > 1200);
    await page.locator(".scroller").hover();
    await run(page, place);
  });
}

browserTest("the view stays at the end of an answer of 2,000 tokens", async () => {
  const long = Array.from({ length: 300 }, (_, i) => `Line ${i} of a long answer.`).join("\n\n");
  const engine = new FakeEngine(() => ({ pieces: long.match(/[^]{1,4}/gu)!, perSecond: 1000 }), {
    contextLength: 2 ** 20,
  });
  await withPage(appOf(engine), async (page) => {
    await ask(page, "go");
    // What a frame shows, before the next piece comes: the view's distance from the end, every time it grows.
    const distances = page.evaluate<number[]>(`new Promise((resolve) => {
      const scroller = document.querySelector(".scroller"), distances = [];
      let height = 0;
      const look = () => {
        if (scroller.scrollHeight > height) {
          distances.push(scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight);
        }
        height = scroller.scrollHeight;
        if (scroller.textContent.includes("Line 299 of a long answer.")) resolve(distances);
        else requestAnimationFrame(() => setTimeout(look));
      };
      look();
    })`);
    const seen = await distances;
    assert.ok(seen.length > 2, `${seen.length} times longer`);
    assert.ok(Math.max(...seen.slice(1)) < 2, `${seen}`);
  });
});

browserTest("who scrolls up while an answer grows stays there, and at the end takes hold again", async () => {
  await withGrowingAnswer(async (page, place) => {
    // The browser scrolls smoothly, so the wheel's way up begins with a few pixels, at the end that it would follow.
    await page.mouse.wheel(0, -60);
    await eventually(page, async () => (await place()).left > 200);
    const { top, left } = await place();
    await eventually(page, async () => (await place()).left > left + 200);
    assert.equal((await place()).top, top);
    await eventually(page, async () => {
      await page.mouse.wheel(0, 3000);
      return (await place()).left < 2;
    });
    const { top: again } = await place();
    await eventually(page, async () => (await place()).top > again + 200 && (await place()).left < 2);
    await page.keyboard.press("Escape");
    await page.getByText("ended by you").waitFor();
    // One's own question is seen, wherever one was.
    await page.locator(".scroller").evaluate((e) => e.scrollTop = 0);
    await ask(page, "again");
    await eventually(page, async () => (await place()).left < 2);
    await page.keyboard.press("Escape");
    await page.getByText("ended by you").nth(1).waitFor();
  });
});

browserTest("up and to the end again is what the reader says, also where the page is slow", async () => {
  await withGrowingAnswer(async (page, place) => {
    const throttle = await page.context().newCDPSession(page);
    await throttle.send("Emulation.setCPUThrottlingRate", { rate: 10 });
    for (let round = 0; round < 4; round++) {
      await page.mouse.wheel(0, -60);
      await eventually(page, async () => (await place()).left > 200);
      await eventually(page, async () => {
        await page.mouse.wheel(0, 3000);
        return (await place()).left < 2;
      });
      const { top } = await place();
      await eventually(page, async () => (await place()).top > top + 100 && (await place()).left < 2);
    }
    await throttle.send("Emulation.setCPUThrottlingRate", { rate: 1 });
    await page.keyboard.press("Escape");
    await page.getByText("ended by you").waitFor();
  });
});
