// `radish embed` from outside, against what transformers make of the same tiny model.

import assert from "node:assert/strict";
import { radish } from "./radish.ts";

const model = new URL("../data/embedding", import.meta.url).pathname;
const { texts }: { texts: readonly { text: string; ids: number[]; embedding: number[] }[] } = JSON.parse(
  Deno.readTextFileSync(`${model}/reference.json`),
);
const embed = (...args: string[]) =>
  radish(["embed", "--quiet", "--device", "cpu", "--model", model, ...args]);

function close(found: readonly number[], expected: readonly number[]): void {
  assert.equal(found.length, expected.length);
  found.forEach((x, i) => assert.ok(Math.abs(x - expected[i]!) < 1e-3));
}

Deno.test("embed prints a text's embedding as JSON, and with --lines one of every line", async () => {
  const [first, second] = texts;
  const { code, stdout, stderr } = await embed(first!.text);
  assert.deepEqual([code, stderr], [0, ""]);
  const { embedding, prompt_tokens } = JSON.parse(stdout);
  close(embedding, first!.embedding);
  assert.equal(prompt_tokens, first!.ids.length);
  const lines = await radish(["embed", "--quiet", "--device", "cpu", "--model", model, "--lines"], {
    stdin: `${first!.text}\n${second!.text}\n`,
  });
  const found = lines.stdout.trim().split("\n").map((line) => JSON.parse(line).embedding);
  assert.equal(found.length, 2);
  close(found[0], first!.embedding);
  close(found[1], second!.embedding);
});

Deno.test("embed says in one line what is wrong: too many dimensions, a text that is too long", async () => {
  const wide = await embed("--dimensions", "65", "a");
  assert.equal(wide.code, 2);
  assert.match(wide.stderr, /^radish: --dimensions: this model's embeddings have 64 numbers\n$/);
  const long = await embed("a fox ".repeat(400));
  assert.equal(long.code, 1);
  assert.match(
    long.stderr,
    /^radish: This model's maximum context length is 512 tokens, but the prompt has \d+/,
  );
});
