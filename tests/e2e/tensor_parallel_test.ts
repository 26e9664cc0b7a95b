// `--tp` from outside: the same answer from several ranks, one line when it cannot be, and what a dying rank does to
// `generate` and to `serve`.

import assert from "node:assert/strict";
import { radish, spawnRadish } from "./radish.ts";

const question = [
  "--device",
  "cpu",
  "--temperature",
  "0",
  "What is 23 plus 48?",
];

Deno.test("generate --tp answers as one rank does, in float32 and in float16", async () => {
  const [two, half, four] = await Promise.all([
    radish(["generate", "--tp", "2", ...question]),
    radish(["generate", "--tp", "2", "--tp-reduce", "float16", ...question]),
    radish(["generate", "--tp", "4", ...question]),
  ]);
  for (const { code, stdout, stderr } of [two, half, four]) {
    assert.equal(stdout, "23 plus 48 is 71.\n");
    assert.equal(code, 0, stderr);
  }
  assert.match(four.stderr, /weights \d MiB on each of 4 ranks in bf16/);
});

Deno.test("generate --tp with a number that does not divide the model is one line and exit code 1", async () => {
  const { code, stdout, stderr } = await radish([
    "generate",
    "--quiet",
    "--tp",
    "3",
    ...question,
  ]);
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.equal(
    stderr,
    "radish: 3 ranks cannot share 8 heads and 4 key/value heads evenly; choose a --tp that divides both\n",
  );
});

Deno.test("a rank killed in mid-generation ends generate with one line and exit code 1", async () => {
  const { code, stderr } = await radish([
    "generate",
    "--quiet",
    "--tp",
    "2",
    ...question,
  ], {
    env: { RADISH_TEST_DIE_AT_PLAN: "1:3" },
  });
  assert.equal(code, 1);
  assert.equal(
    stderr,
    "radish: the executor of rank 1 has failed: told to die at plan 3\n",
  );
});

Deno.test("a rank killed under serve: the stream ends with an error, health is 503, and the process ends with code 1", async () => {
  const child = spawnRadish([
    "serve",
    "--port",
    "0",
    "--tp",
    "2",
    "--device",
    "cpu",
  ], {
    env: { RADISH_TEST_DIE_AT_PLAN: "1:5" },
  });
  let log = "";
  let url = "";
  const lines = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  while (!/ready: pocket/.test(log)) {
    const { value, done } = await lines.read();
    if (done) throw new Error(log);
    log += value;
    url = /listening on (http:\S+)/.exec(log)?.[1] ?? url;
  }
  const rest = (async () => {
    for (let part = await lines.read(); !part.done; part = await lines.read()) {
      log += part.value;
    }
  })();
  const before = await fetch(`${url}/health`);
  assert.equal(before.status, 200);
  await before.body?.cancel();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      prompt: "Hello",
      stream: true,
      max_tokens: 500,
      ignore_eos: true,
    }),
  });
  const stream = await response.text();
  assert.match(
    stream,
    /"error":\{"message":"[^"]*rank 1 has failed: told to die/,
  );
  const health = await fetch(`${url}/health`);
  assert.equal(health.status, 503);
  assert.match((await health.json()).error.message, /rank 1 has failed/);
  await child.stdout.cancel();
  assert.equal((await child.status).code, 1);
  await rest;
  assert.match(log, /the engine stopped: the executor of rank 1 has failed/);
});
