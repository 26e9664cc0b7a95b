import assert from "node:assert/strict";
import type { ModelInfo } from "../../../engine/options.ts";
import { defaultSamplingParams } from "../../../engine/params.ts";
import { Conversation, type ConversationOptions } from "../../../server/cli/conversation.ts";
import { historyPath, readHistory, writeHistory } from "../../../server/cli/history.ts";
import { readMessage, StreamReader } from "../../../server/cli/line_reader.ts";
import { PasteSplitter, TerminalInput } from "../../../server/cli/terminal_input.ts";
import { testWith } from "../../programs.ts";
import { FakeEngine, type Script } from "../http/fake_engine.ts";

const main = decodeURIComponent(new URL("../../../main.ts", import.meta.url).pathname);
const running = () => new AbortController().signal;

interface Talk {
  readonly engine: FakeEngine;
  readonly conversation: Conversation;
  readonly said: string[];
  readonly noted: string[];
  readonly saved: [string, string][];
}

function talk(
  script?: Script,
  options: Partial<ConversationOptions> = {},
  model: Partial<ModelInfo> = {},
): Talk {
  const engine = new FakeEngine(script, model);
  const said: string[] = [], noted: string[] = [], saved: [string, string][] = [];
  const conversation = new Conversation(engine, {
    params: defaultSamplingParams,
    system: null,
    stats: false,
    color: false,
    showReasoning: true,
    ...options,
  }, {
    write: (text) => said.push(text),
    note: (text) => noted.push(text),
    reading: () => {},
    window: null,
    load: (name) => Promise.reject(new Error(`no ${name} here`)),
    save: (path, text) => {
      if (path === "/forbidden") return Promise.reject(new Error("no"));
      saved.push([path, text]);
      return Promise.resolve();
    },
  });
  return { engine, conversation, said, noted, saved };
}

Deno.test("a conversation remembers what was said, until it is reset", async () => {
  const { conversation, said } = talk((prompt) => ({ pieces: [`${prompt.split("\n").length - 1} lines`] }), {
    system: "be kind",
  });
  assert.equal(await conversation.take("one", running()), true);
  assert.equal(await conversation.take("two", running()), true);
  assert.equal(said.join(""), "2 lines\n4 lines\n");
  assert.deepEqual(conversation.messages.map((message) => message.role), [
    "system",
    "user",
    "assistant",
    "user",
    "assistant",
  ]);
  await conversation.take("/reset", running());
  assert.deepEqual(conversation.messages, [{ role: "system", content: "be kind" }]);
  await conversation.take("/system  answer in verse ", running());
  assert.deepEqual(conversation.messages, [{ role: "system", content: "answer in verse" }]);
  await conversation.take("/system", running());
  assert.deepEqual(conversation.messages, []);
});

Deno.test("commands: exit ends, save writes JSON, unknown ones explain, empty lines do nothing", async () => {
  const { conversation, engine, noted, saved } = talk();
  for (const line of ["/exit", "/quit"]) assert.equal(await conversation.take(line, running()), false);
  await conversation.take("hello", running());
  await conversation.take("/save talk.json", running());
  assert.equal(saved[0]![0], "talk.json");
  assert.equal(JSON.parse(saved[0]![1]).messages.length, 2);
  await conversation.take("/save /forbidden", running());
  assert.equal(noted.at(-1), "cannot write /forbidden: no");
  await conversation.take("/save", running());
  await conversation.take("/dance", running());
  assert.match(noted.at(-1)!, /^there is no \/dance\n[^]*\/reset/);
  for (const line of noted.at(-1)!.split("\n")) assert.ok(line.length < 80, `${line} needs two lines`);
  await conversation.take("   ", running());
  assert.equal(engine.requests.length, 1);
});

Deno.test("an interrupt ends the answer, keeps what was said, and the conversation goes on", async () => {
  const { conversation, noted, engine } = talk(
    (prompt) => prompt.includes("for ever") ? { forever: "and " } : { pieces: ["fine"] },
    { params: { ...defaultSamplingParams, maxTokens: 1_000_000 } },
  );
  const controller = new AbortController();
  const answer = conversation.take("for ever", controller.signal);
  while ((await engine.counters()).generatedTokensTotal < 100) await new Promise((r) => setTimeout(r, 0));
  controller.abort();
  assert.equal(await answer, true);
  assert.deepEqual(noted, ["(stopped)"]);
  assert.match(conversation.messages[1]!.content!, /^(and ){25,}$/);
  await conversation.take("/reset", running());
  await conversation.take("well?", running());
  assert.equal(conversation.messages[1]!.content, "fine");
});

Deno.test("reasoning is dimmed, apart from the answer, and not sent back to the model", async () => {
  const script: Script = () => ({ pieces: ["<think>\nhm", "m</think>", "\n\nyes"] });
  const plain = talk(script);
  await plain.conversation.take("x", running());
  assert.equal(plain.said.join(""), "hmm\n\nyes\n");
  assert.equal(plain.conversation.messages[1]!.content, "yes");
  const colored = talk(script, { color: true });
  await colored.conversation.take("x", running());
  assert.equal(colored.said.join(""), "\x1b[2mhmm\x1b[22m\n\nyes\n");
  const hidden = talk(script, { showReasoning: false });
  await hidden.conversation.take("x", running());
  assert.equal(hidden.said.join(""), "yes\n");
});

Deno.test("a refused message is explained and forgotten", async () => {
  const { conversation, noted } = talk(() => ({
    pieces: [],
    finish: { type: "error", code: "too_long", message: "9 tokens, 8 fit" },
  }));
  await conversation.take("long", running());
  assert.deepEqual(noted, ["9 tokens, 8 fit"]);
  assert.deepEqual(conversation.messages, []);
});

Deno.test("a full context forgets the oldest turns, keeps the system message, and says so once", async () => {
  // A token is a byte: every turn takes about 60 of 400.
  const model = { contextLength: 400 };
  const script: Script = (_prompt, { maxTokens }) => {
    assert.equal(maxTokens, null);
    return { pieces: ["fine, thank you"] };
  };
  const { conversation, engine, noted } = talk(script, { system: "be kind" }, model);
  for (let i = 0; i < 20; i++) await conversation.take(`question ${i}: how are you today, dear?`, running());
  assert.deepEqual(noted, ["(the context is full: the oldest messages are forgotten)"]);
  assert.equal(engine.requests.length, 20);
  const { messages } = conversation;
  assert.deepEqual(messages[0], { role: "system", content: "be kind" });
  assert.equal(messages[1]!.role, "user");
  assert.match(messages.at(-2)!.content!, /^question 19/);
  for (const { input } of engine.requests) {
    const { ids } = await engine.encode(input);
    assert.ok(ids.length <= 300, `${ids.length} tokens leave no quarter of the context`);
  }
});

Deno.test("an answer becomes shorter than asked for where the context has no more room", async () => {
  const params = { ...defaultSamplingParams, maxTokens: 10_000 };
  const { conversation, engine } = talk(undefined, { params }, { contextLength: 400 });
  await conversation.take("x".repeat(250), running());
  const { ids } = await engine.encode(engine.requests[0]!.input);
  assert.equal(engine.requests[0]!.params.maxTokens, 400 - ids.length);
  await conversation.take("short", running());
  assert.equal(engine.requests[1]!.input.type === "chat" && engine.requests[1]!.input.messages.length, 1);
});

Deno.test('lines between two """ are one message, and without the second all that is left', async () => {
  const read = async (text: string) => {
    const lines = text.split("\n");
    const reader = {
      read: () => Promise.resolve(lines.shift() ?? null),
      [Symbol.asyncDispose]: async () => {},
    };
    const messages: string[] = [];
    for (let one = await readMessage(reader); one !== null; one = await readMessage(reader)) {
      messages.push(one);
    }
    return messages;
  };
  assert.deepEqual(await read('a\n"""b\nc\n\nd"""\ne'), ["a", "b\nc\n\nd", "e"]);
  assert.deepEqual(await read('"""\none\n"""  \ntwo'), ["\none\n", "two"]);
  assert.deepEqual(await read('"""one line"""\ntwo'), ["one line", "two"]);
  assert.deepEqual(await read('say """ twice\n"""never\nends'), ['say """ twice', "never\nends"]);
});

Deno.test("a marked paste is one line however its bytes come, and nothing in it is a key", () => {
  const paste = "before \x1b[200~one\r\ntwo\rthree\n\x03\x04\x1b[Afour\tx\x1b[201~ after\rnext\r\x1b[B";
  for (const size of [1, 2, 3, 5, 7, 1000]) {
    const splitter = new PasteSplitter();
    const lines = [""];
    const take = () => {
      for (let part = splitter.take();; part = splitter.take()) {
        lines[lines.length - 1] += part.text;
        if (!part.ends) return;
        lines.push("");
      }
    };
    for (let at = 0; at < paste.length; at += size) {
      splitter.push(paste.slice(at, at + size));
      take();
    }
    const [first, second, keys] = lines;
    assert.equal(TerminalInput.original(first!), "before one\ntwo\nthree\n[Afour\tx after\r");
    assert.deepEqual([second, keys], ["next\r", "\x1b[B"]);
  }
});

Deno.test("stats tell tokens, speed and cached prompt tokens", async () => {
  const { conversation, noted } = talk(() => ({ pieces: [..."abc"] }), { stats: true });
  await conversation.take("x", running());
  assert.match(noted[0]!, /^4 tokens, .*first after \d+ ms; prompt 19, cached 9$/);
});

Deno.test("lines are read whole however the bytes come, the last without its end too", async () => {
  const bytes = new TextEncoder().encode("één\r\n\ntwee\nlast");
  const input = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  await using reader = new StreamReader(input);
  const lines: string[] = [];
  for (let line = await reader.read(); line !== null; line = await reader.read()) lines.push(line);
  assert.deepEqual(lines, ["één", "", "twee", "last"]);
});

Deno.test("piped into, chat answers line by line with nothing but answers on standard output", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "chat", "--quiet"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("My name is Kim.\nWhat is my name?\n/exit\nnot read"));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(new TextDecoder().decode(stderr), "");
  assert.equal(new TextDecoder().decode(stdout), "Nice to meet you, Kim.\nYour name is Kim.\n");
  assert.equal(code, 0);
});

testWith("script")(
  "on a terminal Ctrl-C ends the answer and not the program, and Ctrl-D ends it with exit code 0",
  async () => {
    // `exec`, so that no shell stands between script and the program: dash, for one, would die of the Ctrl-C.
    const child = new Deno.Command("script", {
      args: ["-qec", `exec ${Deno.execPath()} run -A ${main} chat --ignore-eos`, "/dev/null"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const keys = child.stdin.getWriter();
    const type = (text: string) => keys.write(new TextEncoder().encode(text));
    let screen = "";
    const see = async (pattern: RegExp) => {
      while (!pattern.test(screen)) {
        const { done, value } = await output.read();
        assert.ok(!done, `the program ended before ${pattern} was seen: ${screen}`);
        screen += value;
      }
      screen = screen.slice(pattern.exec(screen)!.index + pattern.exec(screen)![0].length);
    };
    await see(/> /);
    await type("Tell me a story about a fox named Ida.\r");
    await see(/Once upon a time/);
    await type("\x03");
    await see(/\(stopped\)/);
    await see(/> /);
    await type("\x04");
    const { code } = await child.status;
    for (let part = await output.read(); !part.done; part = await output.read());
    await keys.close().catch(() => {}); // The other end is gone.
    assert.equal(code, 0);
  },
);

Deno.test("/regenerate asks the last message again, /edit another one in its place", async () => {
  let asked = 0;
  const { conversation, engine, noted } = talk(() => ({ pieces: [`answer ${++asked}`] }));
  await conversation.take("/regenerate", running());
  assert.deepEqual(noted, ["there is no message yet"]);
  await conversation.take("first", running());
  await conversation.take("/regenerate", running());
  assert.deepEqual(conversation.messages.map(({ content }) => content), ["first", "answer 2"]);
  await conversation.take("/edit second", running());
  assert.deepEqual(conversation.messages.map(({ content }) => content), ["second", "answer 3"]);
  await conversation.take("/edit", running());
  assert.equal(conversation.takeDraft(), "second");
  assert.equal(conversation.takeDraft(), "");
  assert.deepEqual(conversation.messages, []);
  assert.equal(engine.requests.length, 3);
});

Deno.test("/set changes the sampling of the next answers, and refuses what is out of bounds", async () => {
  const { conversation, engine, noted } = talk();
  await conversation.take("/set temperature 0.3", running());
  await conversation.take("/set top-k 7", running());
  await conversation.take("/set temperature 9", running());
  assert.equal(noted.at(-1), 'temperature must be a number from 0 to 2, not "9"');
  await conversation.take("/set warmth 1", running());
  assert.match(noted.at(-1)!, /^there is no warmth; there is temperature, /);
  await conversation.take("/set top_p", running());
  assert.equal(noted.at(-1), "say the value: /set top_p NUMBER");
  await conversation.take("hello", running());
  const { temperature, topK, topP } = engine.requests[0]!.params;
  assert.deepEqual({ temperature, topK, topP }, { temperature: 0.3, topK: 7, topP: 1 });
  await conversation.take("/set", running());
  assert.match(noted.at(-1)!, /^temperature +0.3$/m);
});

Deno.test("/model says what answers", async () => {
  const { conversation, noted } = talk();
  await conversation.take("/model", running());
  assert.match(noted[0]!, /^fake in .* on scripted, context 4096 tokens$/);
});

Deno.test("the history of a chat is kept, newest first for the reader, and a broken file is no fault", async () => {
  const folder = await Deno.makeTempDir();
  const path = historyPath((name) => name === "XDG_STATE_HOME" ? folder : undefined)!;
  assert.deepEqual(await readHistory(path), []);
  await writeHistory(path, ["newest", "two\nlines", "oldest"]);
  assert.deepEqual(await readHistory(path), ["newest", "two\nlines", "oldest"]);
  await Deno.writeTextFile(path, '"good"\n{broken\n42\n"later"\n');
  assert.deepEqual(await readHistory(path), ["later", "good"]);
  await writeHistory("/dev/null/impossible", ["lost"]);
  await Deno.remove(folder, { recursive: true });
});
