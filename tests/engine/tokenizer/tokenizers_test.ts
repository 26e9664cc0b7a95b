// Encoding and decoding of difficult texts, against ids from an independent implementation (the Rust library; see
// tests/data/tokenizers/make.py). The Qwen3 tokenizer is not kept here: see qwen3.ts.

import assert from "node:assert/strict";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { findQwen3, noQwen3 } from "./qwen3.ts";

const data = new URL("../../data/tokenizers/", import.meta.url).pathname;
const root = new URL("../../../", import.meta.url).pathname;

interface Expected {
  readonly ids: number[];
  /** The decoded ids, with and without special tokens. */
  readonly decoded: string;
  readonly skipped: string;
}

const texts: string[] = JSON.parse(await Deno.readTextFile(`${data}texts.json`));
const expected: Record<string, Expected[]> = JSON.parse(await Deno.readTextFile(`${data}expected.json`));

async function checkAll(name: string, directory: string): Promise<void> {
  const tokenizer = await Tokenizer.load(directory);
  texts.forEach((text, i) => {
    const { ids, decoded, skipped } = expected[name]![i]!;
    assert.deepEqual([...tokenizer.encode(text, false)], ids, `ids of ${JSON.stringify(text)}`);
    assert.equal(tokenizer.decode(ids, false), decoded);
    assert.equal(tokenizer.decode(ids, true), skipped);
  });
}

for (const name of ["llama2", "metaspace", "llama3", "digits"]) {
  Deno.test(`the ${name} kind of tokenizer encodes and decodes every difficult text like the Rust library`, async () => {
    await checkAll(name, data + name);
  });
}

Deno.test("the embedded model's tokenizer encodes and decodes every difficult text like the Rust library", async () => {
  await checkAll("pocket", `${root}models/pocket`);
});

const qwen3 = await findQwen3();

Deno.test({
  name: `the Qwen3 tokenizer encodes and decodes every difficult text like the Rust library${noQwen3(qwen3)}`,
  ignore: qwen3 === null,
  fn: () => checkAll("qwen3", qwen3!),
});

Deno.test("beginning-of-text comes exactly once, as the tokenizer and add_bos_token say", async () => {
  const first = async (name: string, text: string) =>
    [...(await Tokenizer.load(data + name)).encode(text)].slice(0, 2);
  const llama2 = await Tokenizer.load(`${data}llama2`);
  assert.equal(llama2.bosId, 1);
  assert.deepEqual([...llama2.encode("x")], [1, ...llama2.encode("x", false)]);
  // A text that begins with it already does not get another one.
  assert.deepEqual([...llama2.encode("<s>x")], [...llama2.encode("<s>x", false)]);
  assert.notEqual((await first("metaspace", "x"))[0], 1); // add_bos_token is false
  const llama3 = await Tokenizer.load(`${data}llama3`);
  assert.deepEqual([...llama3.encode("x")].length, 2); // the post-processor alone says so
  assert.equal(llama3.encode("x")[0], llama3.bosId);
});

Deno.test("a lone surrogate is encoded as U+FFFD", async () => {
  const tokenizer = await Tokenizer.load(`${data}llama3`);
  assert.deepEqual(tokenizer.encode("a\ud800b", false), tokenizer.encode("a\ufffdb", false));
});
