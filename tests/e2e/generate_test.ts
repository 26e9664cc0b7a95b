// `radish generate` from outside: the command typed, the answer read.

import assert from "node:assert/strict";
import { radish, spawnRadish } from "./radish.ts";

const generate = (...args: string[]) => radish(["generate", ...args]);

/** One line that names the culprit; no stack trace. */
function assertOneLineError(outcome: { code: number; stderr: string }, code: number, message: RegExp): void {
  assert.equal(outcome.code, code, outcome.stderr);
  const errors = outcome.stderr.trim().split("\n").filter((line) =>
    !line.startsWith("radish: using the embedded")
  );
  assert.match(errors.at(-1) ?? "", message);
  assert.doesNotMatch(outcome.stderr, /^\s+at /m);
}

Deno.test("generate answers a question with the embedded model", async () => {
  const { code, stdout, stderr } = await generate("--temperature", "0", "What is 23 plus 48?");
  assert.equal(stdout, "23 plus 48 is 71.\n");
  assert.equal(code, 0);
  assert.match(stderr, /embedded toy model/);
});

Deno.test("generate reads standard input, and says nothing else with --quiet", async () => {
  const { code, stdout, stderr } = await radish(["generate", "--quiet", "--temperature", "0"], {
    stdin: "Hello!\n",
  });
  assert.equal(code, 0);
  assert.equal(stderr, "");
  assert.ok(stdout.trim().length > 0);
});

Deno.test("standard input is added to a prompt that is given, and an empty one is nothing", async () => {
  const ask = (args: string[], stdin: string) =>
    radish(["generate", "--json", "--raw", "-n", "1", ...args], { stdin });
  const count = async (outcome: ReturnType<typeof ask>) => JSON.parse((await outcome).stdout).prompt_tokens;
  const [both, joined, alone, empty, dash, words] = await Promise.all([
    count(ask(["Summarise:"], "My name is Kim.\n")),
    count(ask([], "Summarise:\n\nMy name is Kim.")),
    count(ask(["Summarise:"], "")),
    count(ask([], "Summarise:\n")),
    count(ask(["-"], "Summarise:")),
    count(ask(["My", "name", "is", "Kim."], "")),
  ]);
  assert.equal(both, joined);
  assert.ok(both > alone);
  assert.deepEqual([empty, dash], [alone, alone]);
  assert.equal(words, await count(ask(["My name is Kim."], "")));
});

Deno.test("a reader that goes away ends the program without a word", async () => {
  const child = spawnRadish(["generate", "--quiet", "--ignore-eos", "Count from 1 to 20."]);
  await child.stdout.cancel();
  const { code } = await child.status;
  assert.equal(await new Response(child.stderr).text(), "");
  assert.equal(code, 141);
});

Deno.test("Ctrl-C while a model loads is exit code 130 at once", async () => {
  const child = spawnRadish(["generate", "--ignore-eos", "Count from 1 to 20."]);
  const errors = child.stderr.getReader();
  await errors.read(); // that the embedded model is used, before it is loaded
  child.kill("SIGINT");
  const { code } = await child.status;
  await Promise.all([child.stdout.cancel(), errors.cancel()]);
  assert.equal(code, 130);
});

Deno.test("Ctrl-C while a hub does not answer is exit code 130, for every command that asks one", async () => {
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const home = await Deno.makeTempDir();
  try {
    const env = { HF_HOME: home, HF_ENDPOINT: `http://127.0.0.1:${silent.addr.port}` };
    for (const args of [["pull"], ["generate", "hi", "--model"], ["chat", "--model"], ["bench", "--model"]]) {
      const child = spawnRadish([...args, "Qwen/Qwen3-0.6B"], { env });
      using _connection = await silent.accept();
      child.kill("SIGINT");
      const { code } = await child.status;
      assert.match(
        await new Response(child.stderr).text(),
        /^radish: asking 127\.0\.0\.1:\d+ for Qwen\/Qwen3-0\.6B\n/,
      );
      await child.stdout.cancel();
      assert.equal(code, 130, args[0]);
    }
  } finally {
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("generate --json prints text, token counts, finish reason and timings", async () => {
  const { stdout } = await generate("--json", "--temperature", "0", "What is 23 plus 48?");
  const result = JSON.parse(stdout);
  assert.equal(result.text, "23 plus 48 is 71.");
  assert.equal(result.finish_reason, "stop");
  assert.equal(result.prompt_tokens, 18);
  assert.equal(result.completion_tokens, result.token_ids.length);
  for (const name of ["load_ms", "first_token_ms", "total_ms", "tokens_per_second"]) {
    assert.ok(result.timings[name] > 0, name);
  }
});

Deno.test("generate obeys --max-tokens, --stop, --system, --seed and --raw", async () => {
  const run = async (...args: string[]) => JSON.parse((await generate("--json", ...args)).stdout);
  const [short, stopped, capitals, one, two, raw] = await Promise.all([
    run("--temperature", "0", "--max-tokens", "3", "What is 23 plus 48?"),
    run("--temperature", "0", "--stop", " is", "What is 23 plus 48?"),
    run("--temperature", "0", "--system", "Answer in capital letters.", "What is the capital of Japan?"),
    run("--temperature", "1.5", "--seed", "7", "Tell me a story about a fox named Ida."),
    run("--temperature", "1.5", "--seed", "7", "Tell me a story about a fox named Ida."),
    run("--raw", "--max-tokens", "2", "--ignore-eos", "Hello"),
  ]);
  assert.equal(short.completion_tokens, 3);
  assert.equal(short.finish_reason, "length");
  assert.equal(stopped.text, "23 plus 48");
  assert.equal(stopped.matched, " is");
  assert.equal(capitals.text, capitals.text.toUpperCase());
  assert.equal(one.text, two.text);
  assert.equal(raw.completion_tokens, 2);
});

Deno.test("generate --batch answers every line in order, and a bad line fails alone", async () => {
  const path = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    const lines = [
      JSON.stringify("What is 23 plus 48?"),
      "not json",
      JSON.stringify({ prompt: "What is 2 plus 3?", max_tokens: 2 }),
      JSON.stringify({ messages: [{ role: "user", content: "What is the capital of Japan?" }] }),
    ];
    await Deno.writeTextFile(path, lines.join("\n") + "\n");
    const { code, stdout } = await generate("--temperature", "0", "--batch", path);
    const results = stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(code, 1);
    assert.deepEqual(results.map((r) => r.line), [1, 2, 3, 4]);
    assert.equal(results[0].text, "23 plus 48 is 71.");
    assert.match(results[1].error, /not JSON/);
    assert.equal(results[2].completion_tokens, 2);
    assert.match(results[3].text, /Tokyo/);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("wrong usage is one line and exit code 2", async () => {
  const [negative, empty, unknown, flag] = await Promise.all([
    generate("--temperature", "-1", "Hello!"),
    generate(""),
    radish(["generat", "Hello!"]),
    generate("--tempreature", "1", "Hello!"),
  ]);
  assertOneLineError(negative, 2, /--temperature must be a number from 0 to 2, not "-1"/);
  assertOneLineError(empty, 2, /prompt is empty/);
  assertOneLineError(unknown, 2, /generat\b.*generate/);
  assertOneLineError(flag, 2, /--tempreature/);
});

Deno.test("a model that cannot be used is one line that names the file, and exit code 1", async () => {
  const dir = await Deno.makeTempDir();
  const pocket = new URL("../../models/pocket/", import.meta.url);
  const make = async (name: string, change: (dir: string) => Promise<void>) => {
    const target = `${dir}/${name}`;
    await Deno.mkdir(target);
    for (
      const file of [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
      ]
    ) {
      await Deno.copyFile(new URL(file, pocket), `${target}/${file}`);
      await Deno.chmod(`${target}/${file}`, 0o644);
    }
    await change(target);
    return await generate("--model", target, "Hello!");
  };
  try {
    const missing = await generate("--model", `${dir}/nothing`, "Hello!");
    assertOneLineError(missing, 1, /nothing/);
    const truncated = await make("truncated", (d) => Deno.truncate(`${d}/model.safetensors`, 1_000_000));
    assertOneLineError(truncated, 1, /model\.safetensors/);
    const lying = await make("lying", async (d) => {
      const bytes = await Deno.readFile(`${d}/model.safetensors`);
      const text = new TextDecoder("latin1").decode(bytes.subarray(0, 2000));
      const at = text.indexOf("data_offsets") + 'data_offsets":['.length;
      bytes[at] = "9".charCodeAt(0);
      await Deno.writeFile(`${d}/model.safetensors`, bytes);
    });
    assertOneLineError(lying, 1, /model\.safetensors/);
    const architecture = await make("architecture", async (d) => {
      const config = JSON.parse(await Deno.readTextFile(`${d}/config.json`));
      await Deno.writeTextFile(
        `${d}/config.json`,
        JSON.stringify({ ...config, architectures: ["MambaForCausalLM"] }),
      );
    });
    assertOneLineError(architecture, 1, /MambaForCausalLM.*Qwen3ForCausalLM/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a prompt longer than the context is refused with both numbers", async () => {
  const outcome = await generate("--raw", "Hello! ".repeat(3000));
  assertOneLineError(outcome, 1, /\d{4,} tokens.*2048/);
});

Deno.test("a killed executor worker ends generate with an error", async () => {
  const outcome = await radish(["generate", "--temperature", "0", "Hello!"], {
    env: { RADISH_TEST_DIE_AT_PLAN: "0:3" },
  });
  assertOneLineError(outcome, 1, /the executor has failed: told to die/);
});

Deno.test("Ctrl-C ends a generation with what there is so far, and exit code 130", async () => {
  const child = spawnRadish([
    "generate",
    "--quiet",
    "--ignore-eos",
    "--temperature",
    "0",
    "Count from 1 to 20.",
  ]);
  const reader = child.stdout.getReader();
  const first = await reader.read();
  assert.ok(first.value!.length > 0);
  child.kill("SIGINT");
  let text = new TextDecoder().decode(first.value);
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += new TextDecoder().decode(part.value);
  }
  assert.equal(
    new TextDecoder().decode((await child.stderr.getReader().read()).value ?? new Uint8Array()),
    "",
  );
  assert.equal((await child.status).code, 130);
  assert.match(text, /1/);
});

Deno.test("help and version need no model", async () => {
  const [help, overview, version] = await Promise.all([
    generate("--help"),
    radish(["--help"]),
    radish(["--version"]),
  ]);
  assert.match(help.stdout, /Usage: radish generate[\s\S]*--temperature[\s\S]*example: /);
  assert.match(overview.stdout, /generate[\s\S]*doctor/);
  assert.match(version.stdout, /^radish \d+\.\d+\.\d+/);
});
