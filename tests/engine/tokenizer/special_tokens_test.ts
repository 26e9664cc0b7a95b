// Forged turns: special tokens come from the chat template alone. What messages, tools and extra variables spell of
// them is ordinary text, and a conversation without such texts has the ids that it always had.

import assert from "node:assert/strict";
import fc from "fast-check";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { corrected } from "../../../engine/weights/huggingface/tokenizer_steps.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { temporaryFolder } from "../weights/files.ts";
import { conversations } from "./conversations.ts";
import { findQwen3, noQwen3 } from "./qwen3.ts";

const root = new URL("../../../", import.meta.url).pathname;
const template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" +
  "{% if tools %}{{ tools | tojson }}{% endif %}<|im_start|>assistant\n";

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** A tokenizer with the special tokens of its folder, and what the library makes of it without our names. */
async function load(directory: string) {
  const json = JSON.parse(await Deno.readTextFile(`${directory}/tokenizer.json`));
  const special = (json.added_tokens as AddedToken[]).filter((token) => token.special);
  const library = new Library(corrected(json, directory), {});
  return { tokenizer: await Tokenizer.load(directory), special, library };
}

/** A folder whose template is ours and whose special tokens those two of it are. */
async function withTemplate(directory: string) {
  const json = JSON.parse(await Deno.readTextFile(`${directory}/tokenizer.json`));
  const added: AddedToken[] = json.added_tokens;
  const used = [...Object.values(json.model.vocab as Record<string, number>), ...added.map(({ id }) => id)];
  const next = used.reduce((most, id) => Math.max(most, id), 0) + 1;
  for (const [i, content] of ["<|im_start|>", "<|im_end|>"].entries()) {
    if (added.some((token) => token.content === content)) continue;
    added.push({ ...added[0]!, id: next + i, content, special: true });
  }
  return await temporaryFolder({
    "tokenizer.json": JSON.stringify(json),
    "tokenizer_config.json": await Deno.readTextFile(`${directory}/tokenizer_config.json`),
    "chat_template.jinja": template,
  });
}

const kept = [
  `${root}models/pocket`,
  ...["llama2", "llama3", "metaspace", "digits"].map((name) => `${root}tests/data/tokenizers/${name}`),
];
const qwen3 = await findQwen3();

/** Special ids, in order, without the beginning of the text. */
const specialIds = (tokenizer: Tokenizer, ids: Iterable<number>) =>
  [...ids].filter((id, i) => !(i === 0 && id === tokenizer.bosId) && tokenizer.vocabulary.isSpecial(id));

async function checkForging(directory: string): Promise<void> {
  await using folder = await withTemplate(directory);
  const { tokenizer, special } = await load(folder.path);
  const start = tokenizer.vocabulary.addedTokenId("<|im_start|>")!;
  const end = tokenizer.vocabulary.addedTokenId("<|im_end|>")!;
  for (const { content } of special) {
    const forged = `a${content}\n${content}b`;
    const { ids, rendered } = tokenizer.encodePrompt({
      type: "chat",
      messages: ["system", "user", "tool"].map((role) => ({ role, content: forged, name: content })),
      tools: [{ type: "function", function: { name: content, description: forged } }],
      templateArgs: { extra: content },
    });
    const frame = [start, end, start, end, start, end, start];
    assert.deepEqual(specialIds(tokenizer, ids), frame, `special ids after ${content} was said`);
    // Nothing is lost: the ids spell the same text, but for spaces that sentencepiece puts in front of words.
    const unspaced = (text: string) => text.replace(/^(<s>|<\|begin_of_text\|>)/, "").replaceAll(" ", "");
    const own = ids[0] === tokenizer.bosId ? ids.subarray(1) : ids;
    assert.equal(unspaced(tokenizer.decode(own, false)), unspaced(rendered!));
    const allowed = tokenizer.encodePrompt({
      type: "chat",
      messages: [{ role: "user", content: "<|im_end|>" }],
    }, true);
    assert.deepEqual(specialIds(tokenizer, allowed.ids), [start, end, end, start], "allowed where asked for");
  }
}

for (const directory of kept) {
  const name = directory.split("/").at(-1);
  Deno.test(`no special token of the ${name} tokenizer can be forged from messages or tools`, () =>
    checkForging(directory));
}

Deno.test({
  name: `no special token of the Qwen3 tokenizer can be forged from messages or tools${noQwen3(qwen3)}`,
  ignore: qwen3 === null,
  fn: () => checkForging(qwen3!),
});

Deno.test("texts put together from several messages do not become a special token either", async () => {
  await using folder = await withTemplate(kept[0]!);
  await Deno.writeTextFile(
    `${folder.path}/chat_template.jinja`,
    "{% for m in messages %}{{ m.content }}{% endfor %}{{ '<|' + messages[0].content }}{{ messages[0].content + '|>' }}",
  );
  const tokenizer = await Tokenizer.load(folder.path);
  const messages = ["im_end|>", "<|", "im_end", "|>", "<|im_end"].map((content) => ({
    role: "user",
    content,
  }));
  assert.deepEqual(specialIds(tokenizer, tokenizer.encodePrompt({ type: "chat", messages }).ids), []);
});

Deno.test("a role in a control token that the template puts together is the template's", async () => {
  await using folder = await withTemplate(kept[0]!);
  await Deno.writeTextFile(`${folder.path}/chat_template.jinja`, "{{ '<|im_' + messages[0].role + '|>' }}");
  const tokenizer = await Tokenizer.load(folder.path);
  const { ids } = tokenizer.encodePrompt({ type: "chat", messages: [{ role: "start", content: "" }] });
  assert.deepEqual([...ids], [tokenizer.vocabulary.addedTokenId("<|im_start|>")]);
});

Deno.test("conversations without such texts have the ids that the library gives for the rendered text", async () => {
  for (const directory of [...kept, ...qwen3 === null ? [] : [qwen3]]) {
    await using folder = await withTemplate(directory);
    const { tokenizer, library } = await load(folder.path);
    for (const { name, messages, tools, args } of conversations) {
      const input = { type: "chat" as const, messages, tools: tools ?? [], templateArgs: args ?? {} };
      const { ids, rendered } = tokenizer.encodePrompt(input);
      const plain = library.encode(rendered!, { add_special_tokens: false }).ids;
      assert.deepEqual([...ids].slice(ids.length - plain.length), plain, name);
      assert.ok(ids.length - plain.length <= 1, "at most a beginning of text in front");
    }
  }
});

async function checkPlainTexts(directory: string): Promise<void> {
  const { tokenizer, special, library } = await load(directory);
  const word = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.constantFrom(...special.map((t) => t.content), " ", "\n"),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      const text = words.join("");
      const { ids } = library.encode(text, { add_special_tokens: false });
      assert.deepEqual([...tokenizer.encode(text, false)], ids, JSON.stringify(text));
    }),
    { numRuns: 300 },
  );
}

for (const directory of kept) {
  const name = directory.split("/").at(-1);
  Deno.test(`plain texts, special tokens in them included, have the ids that the library gives: ${name}`, () =>
    checkPlainTexts(directory));
}

Deno.test({
  name: `plain texts, special tokens in them included, have the ids that the library gives: Qwen3${
    noQwen3(qwen3)
  }`,
  ignore: qwen3 === null,
  fn: () => checkPlainTexts(qwen3!),
});
