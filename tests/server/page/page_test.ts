// The page at `/`: a chat that keeps its conversations, and the engine at work.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { createApp } from "../../../server/http/app.ts";
import { FakeEngine } from "../http/fake_engine.ts";
import { startPocket } from "../http/pocket.ts";
import { appOf, ask, assertAccessible, browserTest, eventually, picture, withPage } from "./browser.ts";

/** An engine whose every answer is `text`, in pieces of a few characters. */
function answering(text: string): FakeEngine {
  return new FakeEngine(() => ({ pieces: text.match(/[^]{1,40}/gu)! }), { contextLength: 2 ** 20 });
}

/** An engine that repeats the last user message. */
function parrot(): FakeEngine {
  return new FakeEngine((prompt) => ({
    pieces: [`You said: ${prompt.split("user: ").at(-1)!.split("\n").at(-2)}`],
  }));
}

browserTest(
  "the page asks, streams answers, thinks aloud, and says how fast and how much was cached",
  async () => {
    await using pocket = await startPocket();
    await withPage(pocket.app, async (page) => {
      await page.getByText("pocket ·").waitFor();
      await picture(page, "page-empty");
      await assertAccessible(page);
      await page.getByRole("button", { name: "What is 23 plus 48?" }).click();
      await page.getByText("23 plus 48 is 71.").waitFor();
      await page.locator(".stats").last().getByText(/tokens\/s/).click();
      await page.locator(".stats").last().getByText("18 tokens").waitFor();

      await ask(page, "Think, then answer: what is 3 plus 4 plus 5?");
      await page.getByText("The answer is 12.").waitFor();
      await page.getByText(/Thought for \d+\.\d s/).click();
      assert.equal(await page.locator(".reasoning div").textContent(), "3 plus 4 is 7. 7 plus 5 is 12.");
      const cached = page.locator(".stats").last().locator("div", { hasText: "from the cache" }).locator(
        "dd",
      );
      await page.locator(".stats").last().locator("summary").click();
      assert.match(await cached.textContent() ?? "", /^[1-9]\d* tokens$/);
      await picture(page, "page-answers");
      await page.emulateMedia({ colorScheme: "dark" });
      await picture(page, "page-dark");
      await assertAccessible(page);
      await page.setViewportSize({ width: 390, height: 780 });
      await picture(page, "page-phone");
      await assertAccessible(page);
    });
  },
);

browserTest("settings belong to the conversation, and what is not set is the model's own", async () => {
  await using pocket = await startPocket();
  await withPage(pocket.app, async (page) => {
    await page.getByRole("button", { name: "Settings" }).click();
    const temperature = page.getByRole("spinbutton", { name: "Temperature" });
    await page.getByPlaceholder("default: 1").first().waitFor();
    await temperature.fill("0.5");
    const standing = page.getByRole("button", { name: "Temperature: model's default" });
    await eventually(page, async () => await standing.getAttribute("aria-pressed") === "false");
    await standing.click();
    await eventually(page, async () => await temperature.inputValue() === "");
    await page.getByLabel("System message").fill("Answer in capital letters.");
    await page.getByRole("spinbutton", { name: "Most tokens" }).fill("4");
    await picture(page, "page-settings");
    await assertAccessible(page);
    await page.getByRole("button", { name: "Close settings" }).click();
    await page.getByRole("dialog").waitFor({ state: "hidden" });
    await ask(page, "What is the capital of Japan?");
    await page.getByText("ended by length").waitFor();
    assert.match(await page.locator(".assistant .text").last().textContent() ?? "", /^THE /);
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByText("Ask something").waitFor();
  });
});

browserTest("Escape stops an answer, which ends its request in the engine", async () => {
  const engine = new FakeEngine(() => ({ silent: true }));
  await withPage(createApp(engine, { logFormat: "none", keepAliveMs: 20 }), async (page) => {
    await ask(page, "hello");
    await page.getByRole("button", { name: "Stop" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("ended by you").waitFor();
    assert.equal(await page.getByRole("button", { name: "Send" }).isVisible(), true);
    while (engine.live.size > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  });
});

browserTest("a refused request shows its reason in the page", async () => {
  await withPage(appOf(parrot()), async (page) => {
    await page.keyboard.press("Control+,");
    await page.getByRole("spinbutton", { name: "Most tokens" }).fill("99999");
    await page.keyboard.press("Escape");
    await ask(page, "hello");
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

browserTest(
  "conversations survive a reload and a restart of the server; they are found, renamed, deleted",
  async () => {
    await withPage(appOf(parrot()), async (page, { restart }) => {
      await ask(page, "the first about turnips");
      await page.getByText("You said: the first about turnips").waitFor();
      await page.keyboard.press("Control+Shift+O");
      await ask(page, "the second about beets");
      await page.getByText("You said: the second about beets").waitFor();
      await restart(appOf(parrot()));
      await page.reload();
      await page.getByText("You said: the second about beets").waitFor();
      const list = page.getByRole("list", { name: "Conversations" });
      assert.equal(await list.getByRole("listitem").count(), 2);
      await page.keyboard.press("Control+K");
      await page.getByRole("searchbox").fill("said turnips");
      await list.getByRole("button", { name: "the first about turnips", exact: true }).click();
      await page.getByText("You said: the first about turnips").waitFor();
      assert.equal(await list.getByRole("listitem").count(), 1);
      await list.getByRole("button", { name: "Rename the first about turnips" }).click();
      await page.getByRole("textbox", { name: "New name" }).fill("Roots");
      await page.keyboard.press("Enter");
      page.once("dialog", (dialog) => dialog.accept());
      await list.getByRole("button", { name: "Delete Roots" }).click();
      await page.getByText("nothing found").waitFor();
      await page.reload();
      await page.getByText("You said: the second about beets").waitFor();
      assert.equal(await list.getByRole("listitem").count(), 1);
    });
  },
);

browserTest(
  "an exported conversation can be imported again, and another file is refused with a reason",
  async () => {
    await withPage(appOf(parrot()), async (page) => {
      await ask(page, "keep me");
      await page.getByText("You said: keep me").waitFor();
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: "Export all" }).click(),
      ]);
      const path = await download.path();
      page.once("dialog", (dialog) => dialog.accept());
      await page.getByRole("button", { name: "Delete keep me" }).click();
      await page.getByText("Ask something").waitFor();
      const picker = page.getByLabel("File to import");
      await picker.setInputFiles({
        name: "wrong.json",
        mimeType: "application/json",
        buffer: Buffer.from("{}"),
      });
      await page.getByText('wrong.json: the file has no list "conversations"').waitFor();
      await picker.setInputFiles(path);
      await page.getByText("You said: keep me").waitFor();
    });
  },
);

browserTest("editing and asking again make branches, and none is lost", async () => {
  let asked = 0;
  const engine = new FakeEngine(() => ({ pieces: [`answer ${++asked}`] }));
  await withPage(appOf(engine), async (page) => {
    await ask(page, "a question");
    await page.getByText("answer 1").waitFor();
    await page.getByRole("button", { name: "Again" }).click();
    await page.getByText("answer 2").waitFor();
    await page.getByRole("img", { name: "Version 2 of 2" }).waitFor();
    await page.getByRole("textbox", { name: "Message", exact: true }).press("ArrowUp");
    await page.getByRole("textbox", { name: "Edited message" }).fill("another question");
    await page.keyboard.press("Enter");
    await page.getByText("answer 3").waitFor();
    assert.equal(await page.getByText("answer 2").count(), 0);
    await page.getByRole("button", { name: "Previous version" }).first().click();
    await page.getByText("answer 2").waitFor();
    await page.getByRole("button", { name: "Previous version" }).last().click();
    await page.getByText("answer 1").waitFor();
    await picture(page, "page-branches");
  });
});

browserTest("whatever an answer contains, it is text: nothing runs, nothing is loaded", async () => {
  const hostile = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\"> ![a picture](https://example.com/spy.png)",
    "[press me](javascript:document.title='owned') and [this](data:text/html,x) and [that](https://example.com/)",
    "<div><table><b>never closed",
    "שלום עולם, זה טקסט מימין לשמאל",
    "| a | b |\n| - | -: |\n| `x` | **1** |",
    "$a_1 * b_2 * c$ stays, and so does $$\\sum_i x_i * y_i$$",
    `\`\`\`python\n${"x = '</script><script>document.title = 1</script>'\n".repeat(2000)}\`\`\``,
    "the end",
  ].join("\n\n");
  await withPage(appOf(answering(hostile)), async (page) => {
    await ask(page, "go");
    await page.getByText("the end").waitFor();
    assert.match(await page.title(), /^radish · /);
    const answer = page.locator(".assistant .text");
    assert.equal(await answer.locator("script, img, iframe, [onerror]").count(), 0);
    assert.deepEqual(
      await answer.locator("a").evaluateAll((links) => links.map((link) => link.getAttribute("href"))),
      [
        "https://example.com/spy.png",
        "https://example.com/",
      ],
    );
    assert.equal(await answer.locator("td").count(), 2);
    assert.match(await answer.locator("code.math").first().textContent() ?? "", /^a_1 \* b_2 \* c$/);
    assert.equal((await answer.locator(".code code").textContent())?.length, 2000 * 51 - 1);
    assert.equal(
      await page.getByText("שלום").evaluate((element) => element.matches(":dir(rtl)")),
      true,
    );
    await picture(page, "page-hostile");
    await assertAccessible(page);
  });
});

browserTest("code is coloured when it is complete, and can be copied", async () => {
  await withPage(appOf(answering("Look:\n\n```python\ndef f(x):\n    return 'a'\n```\n")), async (page) => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await ask(page, "go");
    await page.locator(".hljs-keyword").first().waitFor();
    await page.getByRole("button", { name: "Copy code" }).click();
    await page.getByText("Copied").waitFor();
    assert.equal(await page.evaluate("navigator.clipboard.readText()"), "def f(x):\n    return 'a'");
  });
});

browserTest("a dropped text file goes along", async () => {
  const engine = parrot();
  await withPage(appOf(engine), async (page) => {
    await page.getByLabel("Add file").setInputFiles({
      name: "notes.txt",
      mimeType: "text/plain",
      buffer: Buffer.from("radishes are red"),
    });
    await page.getByText("notes.txt").waitFor();
    await ask(page, "what colour?");
    await page.getByText("You said: what colour?").waitFor();
    const [sent] = engine.requests;
    assert.match(
      JSON.stringify(sent!.input),
      /<file name=\\"notes.txt\\">\\nradishes are red\\n<\/file>\\n\\nwhat colour\?/,
    );
  });
});

browserTest("a model's tool call is shown, and its result goes back", async () => {
  const call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>';
  const engine = new FakeEngine((prompt) => ({ pieces: [prompt.includes("sunny") ? "It is sunny." : call] }));
  await withPage(appOf(engine), async (page) => {
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Tools").fill('[{"type": "function", "function": {"name": "weather"}}]');
    await page.keyboard.press("Escape");
    await ask(page, "What is the weather in Oslo?");
    await page.getByLabel("Result of weather").fill("sunny");
    await page.getByRole("button", { name: "Send results" }).click();
    await page.getByText("It is sunny.").waitFor();
  });
});

browserTest(
  "the engine tab shows one shared run with both locks, and its figures are the metrics'",
  async () => {
    await using pocket = await startPocket({ device: "cpu", contextLength: 2048 });
    const prefix = "Ida the fox walked along the river. ".repeat(130);
    // Again and again, because pocket answers within a moment.
    const controller = new AbortController();
    const keepAsking = async (text: string) => {
      while (!controller.signal.aborted) {
        const generation = pocket.engine.submit({
          input: { type: "text", text: prefix + text },
          params: { ...defaultSamplingParams, maxTokens: 900, ignoreEos: true },
          signal: controller.signal,
        });
        for await (const _ of generation);
      }
    };
    await withPage(pocket.app, async (page) => {
      await page.getByRole("button", { name: "Engine" }).click();
      const asking = [keepAsking("Then"), keepAsking("Now")];
      const shared = page.getByRole("list", { name: "Radix tree" }).getByText(/· 2 locks · \d+ hits?/)
        .first();
      await shared.waitFor();
      const tokens = Number(/(\d[\d,]*) tokens/.exec(await shared.textContent() ?? "")![1]!.replace(",", ""));
      assert.ok(tokens >= 1000, `${tokens} tokens are shared`);
      await picture(page, "page-engine");
      await assertAccessible(page);
      controller.abort();
      await Promise.all(asking);
      await page.getByText("none", { exact: true }).waitFor();
      const metrics = await (await pocket.app.fetch(new Request("http://127.0.0.1/metrics"))).text();
      const cached = /^sglang:cached_tokens_total\{.*\} (\d+)$/m.exec(metrics)![1]!;
      await page.getByText(`; ${Number(cached).toLocaleString("en")} of`).waitFor();
    });
  },
);
