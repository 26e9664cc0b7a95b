// Encoding and decoding of difficult texts, against ids from an independent implementation (the Rust library; see
// tests/data/tokenizers/make.py). The Qwen3 tokenizer is not kept here: see qwen3.ts.

import assert from "node:assert/strict";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { Vocabulary } from "../../../engine/tokenizer/vocabulary.ts";
import { temporaryFolder } from "../weights/files.ts";
import { findQwen3, noQwen3 } from "./qwen3.ts";

const data = new URL("../../data/tokenizers/", import.meta.url).pathname;
const root = new URL("../../../", import.meta.url).pathname;

interface Expected {
  readonly ids: number[];
  /** The decoded ids. */
  readonly decoded: string;
  /** Without special tokens, where that is another text. */
  readonly skipped?: string;
}

const texts: string[] = JSON.parse(await Deno.readTextFile(`${data}texts.json`));
const expected: Record<string, Expected[]> = JSON.parse(await Deno.readTextFile(`${data}expected.json`));

async function checkAll(name: string, directory: string): Promise<void> {
  const tokenizer = await Tokenizer.load(directory);
  texts.forEach((text, i) => {
    const { ids, decoded, skipped } = expected[name]![i]!;
    assert.deepEqual([...tokenizer.encode(text, false)], ids, `ids of ${JSON.stringify(text)}`);
    assert.equal(tokenizer.decode(ids, false), decoded);
    assert.equal(tokenizer.decode(ids, true), skipped ?? decoded);
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

Deno.test("a damaged tokenizer is refused in one line with the file, the field and what it must be", async () => {
  const model = { vocab: { a: 0 } }, decoder = { type: "ByteLevel" };
  const damaged: readonly (readonly [object, string])[] = [
    [{ decoder }, 'file: "model" is missing'],
    [{ decoder, model: {} }, 'file: model: "vocab" is missing'],
    [{ decoder, model: { vocab: "a" } }, 'file: model: "vocab" must be a list or an object, not "a"'],
    [{ decoder, model: { vocab: { a: -1 } } }, "file: token id -1 is not an integer below 4194304"],
    [{ decoder, model: { vocab: [1] } }, "file: token 0 has no text"],
    [
      { decoder, model, added_tokens: [{ id: 1e9, content: "a" }] },
      'file: added_tokens: 0: "id" must be an integer from 0 to 4194303, not 1000000000',
    ],
    [
      { decoder, model, added_tokens: {} },
      'file: "added_tokens" must be a list of at most 4194304 entries, not {}',
    ],
    [{ model, decoder: [] }, 'file: "decoder" must be a JSON object, not []'],
    [{ model, decoder: { type: 1 } }, 'file: decoder: "type" must be a string, not 1'],
    [{ model, decoder: { type: "CTC" } }, 'file: decoder: unsupported decoder type "CTC"'],
  ];
  for (const [json, message] of damaged) assert.throws(() => new Vocabulary(json, "file"), { message });
  const tokenizer = await Deno.readTextFile(`${data}llama2/tokenizer.json`);
  for (
    const [config, fault] of [
      [{ bos_token: 1 }, '"bos_token" must be a text, not 1'],
      [{ add_bos_token: "yes" }, '"add_bos_token" must be true or false, not "yes"'],
      [
        { chat_template: 1 },
        '"chat_template" must be a text, or a list of at most 64 texts with names, not 1',
      ],
    ] as const
  ) {
    const files = { "tokenizer.json": tokenizer, "tokenizer_config.json": JSON.stringify(config) };
    await using folder = await temporaryFolder(files);
    const message = `${folder.path}/tokenizer_config.json: ${fault}`;
    await assert.rejects(Tokenizer.load(folder.path), { message });
  }
});
