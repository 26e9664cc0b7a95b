// The page at `/` while an answer streams: how long frames take in Chromium. A scripted server sends 150 pieces a
// second; every frame is timed with requestAnimationFrame, and the browser itself reports those that took more than
// 50 ms (its "long animation frames"). Figures of a busy machine say nothing about the page.
//
//   deno run -A --config tests/deno.json bench/page.ts
//
//   --only WORDS      only what has these words in its name
//   --per-second N    pieces (150)
//   --out FILE        everything as JSON

import { Buffer } from "node:buffer";
import type { Page } from "playwright-core";
import { createApp } from "../server/http/app.ts";
import { FakeEngine } from "../tests/server/http/fake_engine.ts";
import { withPage } from "../tests/server/page/browser.ts";
import { readOptions, whole } from "./common/arguments.ts";
import { environment } from "./common/environment.ts";
import { writeResult } from "./common/result_file.ts";
import { figure, table } from "./common/table.ts";
import { type Answer, answers, longConversation } from "./page/answers.ts";

const { values } = readOptions(import.meta.url, {
  options: {
    only: { type: "string", default: "" },
    "per-second": { type: "string", default: "150" },
    out: { type: "string" },
  },
});
const perSecond = whole(values["per-second"], "per-second");

/** Milliseconds. */
interface Frames {
  readonly name: string;
  readonly seconds: number;
  readonly frames: number;
  readonly median: number;
  readonly p99: number;
  readonly longest: number;
  /** From one frame to the next more than 50 ms. */
  readonly over50: number;
  /** Those that Chromium reports: the page's own work took more than 50 ms. */
  readonly reported: readonly number[];
  /** The main thread's longest pieces of work by the processor's time, which other programs do not lengthen. */
  readonly work: readonly number[];
}

/** Times the frames of what `act` does in the page. */
async function frames(page: Page, name: string, act: () => Promise<void>): Promise<Frames> {
  // As text, because it runs in the page.
  await page.evaluate(`{
    const times = [], long = [];
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) long.push(duration);
    });
    observer.observe({ type: "long-animation-frame" });
    let ended = false;
    const next = (now) => {
      times.push(now);
      if (!ended) requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
    globalThis.endFrames = () => (ended = true, observer.disconnect(), { times, long });
  }`);
  const browser = page.context().browser()!;
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
  await act();
  const work = longestTasks(await browser.stopTracing());
  const { times, long } = await page.evaluate<{ times: number[]; long: number[] }>("endFrames()");
  const each = times.slice(1).map((time, i) => time - times[i]!).sort((a, b) => a - b);
  const at = (share: number) => each[Math.min(each.length - 1, Math.floor(share * each.length))]!;
  return {
    name,
    seconds: (times.at(-1)! - times[0]!) / 1000,
    frames: each.length,
    median: at(0.5),
    p99: at(0.99),
    longest: at(1),
    over50: each.filter((time) => time > 50).length,
    reported: long,
    work,
  };
}

/** Milliseconds of the renderers' main threads. */
function longestTasks(trace: Uint8Array): number[] {
  interface Event {
    readonly name: string;
    readonly pid: number;
    readonly tid: number;
    readonly tdur?: number;
    readonly args?: { readonly name?: string };
  }
  const { traceEvents } = JSON.parse(new TextDecoder().decode(trace)) as { traceEvents: Event[] };
  const main = new Set(
    traceEvents.filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = traceEvents.filter(({ name, pid, tid, tdur }) =>
    name === "ThreadControllerImpl::RunTask" && tdur !== undefined && main.has(`${pid} ${tid}`)
  );
  return tasks.map(({ tdur }) => tdur! / 1000).sort((a, b) => b - a).slice(0, 5);
}

/**
 * Sends what stands in the message field and waits for the end of the answer, and what the page does after it. Asks the
 * server and not the page, whose time a search through its elements would take.
 */
async function answered(page: Page, engine: FakeEngine): Promise<void> {
  const before = engine.requests.length;
  await page.keyboard.press("Enter");
  while (engine.requests.length === before || engine.live.size > 0) await page.waitForTimeout(50);
  await page.waitForTimeout(500);
}

const write = (page: Page) => page.getByRole("textbox", { name: "Message", exact: true }).fill("go");

async function streaming({ name, pieces }: Answer): Promise<Frames> {
  const engine = new FakeEngine(() => ({ pieces, perSecond }), { contextLength: 2 ** 20 });
  let result!: Frames;
  await withPage(createApp(engine, { logFormat: "none" }), async (page) => {
    await page.getByText("fake ·").waitFor();
    await write(page);
    result = await frames(page, name, () => answered(page, engine));
  });
  return result;
}

/** Fifty messages: shown at once after a reload, and with an answer that grows below them. */
async function conversation(): Promise<Frames[]> {
  const results: Frames[] = [];
  const { pieces } = answers[0]!;
  const engine = new FakeEngine(() => ({ pieces: pieces.slice(0, 600), perSecond }), {
    contextLength: 2 ** 20,
  });
  await withPage(createApp(engine, { logFormat: "none" }), async (page) => {
    await page.getByText("fake ·").waitFor();
    const buffer = Buffer.from(longConversation(50, 4000));
    await page.getByLabel("File to import").setInputFiles({
      name: "long.json",
      mimeType: "application/json",
      buffer,
    });
    await page.getByText("Question 25").waitFor();
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByText("Ask something").waitFor();
    const entry = await page.getByRole("button", { name: "A long conversation", exact: true }).boundingBox();
    results.push(
      await frames(page, "50 messages of 4 kB are opened", async () => {
        await page.mouse.click(entry!.x + 20, entry!.y + 20);
        await page.waitForTimeout(3000);
      }),
    );
    await page.getByText("Question 1:").waitFor();
    await write(page);
    results.push(await frames(page, "600 tokens below 50 messages", () => answered(page, engine)));
    await page.locator(".scroller").hover();
    results.push(
      await frames(page, "50 messages are scrolled through", async () => {
        for (let i = 0; i < 40; i++) {
          await page.mouse.wheel(0, -600);
          await page.waitForTimeout(50);
        }
      }),
    );
  });
  return results;
}

const wanted = (name: string) => name.includes(values.only);
const results: Frames[] = [];
const { date, ...where } = await environment();
for (const answer of answers.filter(({ name }) => wanted(name))) results.push(await streaming(answer));
if (wanted("50 messages")) results.push(...await conversation());
console.log(table(
  ["milliseconds between frames", "s", "median", "99 %", "longest", "over 50", "reported", "work"],
  results.map((each) => [
    each.name,
    ...[each.seconds, each.median, each.p99, each.longest].map(figure),
    String(each.over50),
    String(each.reported.length),
    each.work.map((time) => Math.round(time)).join(" "),
  ]),
));
if (values.out !== undefined) {
  await writeResult(values.out, { date, ...where, per_second: perSecond, results });
}
