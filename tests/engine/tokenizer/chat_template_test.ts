// Chat templates: what they render, how they fail, and that a hostile one can neither hang nor fill the memory.

import assert from "node:assert/strict";
import { readTokenizerFiles } from "../../../engine/weights/tokenizer_files.ts";
import { ChatTemplate, findChatTemplate, TemplateError } from "../../../engine/tokenizer/chat_template.ts";
import { Tokenizer } from "../../../engine/tokenizer/tokenizer.ts";
import { temporaryFolder } from "../weights/files.ts";

const pocket = new URL("../../../models/pocket", import.meta.url).pathname;
const llama2 = new URL("../../data/tokenizers/llama2", import.meta.url).pathname;

const hello = [{ role: "user", content: "Hello" }];

function template(source: string, special: Record<string, string> = {}): ChatTemplate {
  return new ChatTemplate(source, source, special);
}

/** The error of one line that rendering gives. */
function failure(source: string, messages = hello): string {
  try {
    template(source).render(messages);
  } catch (error) {
    assert.ok(error instanceof TemplateError, String(error));
    assert.ok(!error.message.includes("\n") && error.message.length < 400);
    return error.message;
  }
  return "rendered";
}

Deno.test("the embedded model's conversations render and encode as their reference says", async () => {
  const tokenizer = await Tokenizer.load(pocket);
  const cases = JSON.parse(await Deno.readTextFile(`${pocket}/chat_reference.json`));
  assert.equal(cases.length, 5);
  for (const { messages, rendered, input_ids } of cases) {
    const encoded = tokenizer.encodePrompt({ type: "chat", messages });
    assert.equal(encoded.rendered, rendered);
    assert.deepEqual([...encoded.ids], input_ids);
  }
});

Deno.test("templates see messages, tools, special tokens, extra variables and Python's string methods", () => {
  const source =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m['content'].strip('\\n') }}{% endfor %}" +
    "{% if tools %}{{ tools | tojson }}{% endif %}{% if mood is defined %} {{ mood }}{% endif %}" +
    "{% if add_generation_prompt %}>{% endif %}";
  const chat = template(source, { bos_token: "<s>" });
  const messages = [{ role: "user", content: "\n  Hi \n" }];
  assert.equal(chat.render(messages).value, "<s>[user]   Hi >");
  assert.equal(
    chat.render(messages, { tools: [{ name: "f" }], templateArgs: { mood: "calm" } }).value,
    '<s>[user]   Hi [{"name": "f"}] calm>',
  );
  assert.equal(chat.render(messages, { tools: [] }).value, "<s>[user]   Hi >");
  // Extra variables cannot take the place of the conversation.
  assert.equal(chat.render(messages, { templateArgs: { messages: [] } }).value, "<s>[user]   Hi >");
});

Deno.test("strip, lstrip and rstrip take characters as in Python", () => {
  const strip = (expression: string) => template(`{{ ${expression} }}`).render(hello).value;
  assert.equal(strip("'xxabxcx'.strip('x')"), "abxc");
  assert.equal(strip("'xyab'.lstrip('yx')"), "ab");
  assert.equal(strip("'ab\\n\\n'.rstrip('\\n')"), "ab");
  assert.equal(strip("' ab '.strip()"), "ab");
  assert.equal(strip("'<think>a</think>\\n\\nb'.split('</think>')[-1].lstrip('\\n')"), "b");
});

Deno.test("a template's own exception is the error's message", () => {
  assert.equal(
    failure("{{ raise_exception('Conversation roles must alternate user/assistant') }}"),
    "chat template: Conversation roles must alternate user/assistant",
  );
});

Deno.test("the last message can be continued instead of answered", () => {
  const source =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  const chat = template(source);
  const messages = [...hello, { role: "assistant", content: "Once upon a " }];
  assert.equal(
    chat.render(messages, { continueFinal: true }).value,
    "<user>Hello</user><assistant>Once upon a ",
  );
  assert.equal(
    chat.render(messages).value,
    "<user>Hello</user><assistant>Once upon a </assistant><assistant>",
  );
  const empty = [...hello, { role: "assistant", content: "" }];
  assert.throws(() => chat.render(empty, { continueFinal: true }).value, /cannot continue it/);
  const trimming = template("{% for m in messages %}<{{ m.content | trim }}>{% endfor %}");
  assert.equal(trimming.render(messages, { continueFinal: true }).value, "<Hello><Once upon a");
});

Deno.test("a template is found in its own file first, then as a string, then by name", async () => {
  const load = async (
    files: Record<string, string>,
    config: { readonly chat_template?: string | { name: string; template: string }[] },
  ) => {
    await using folder = await temporaryFolder({
      ...files,
      "config.json": "{}",
      "tokenizer_config.json": JSON.stringify(config),
    });
    const { template } = await readTokenizerFiles(folder.path);
    return findChatTemplate(template, config.chat_template, "tokenizer_config.json", {});
  };
  const named = {
    chat_template: [{ name: "default", template: "plain" }, { name: "tool_use", template: "tools" }],
  };
  assert.equal(await load({}, {}), null);
  assert.equal((await load({}, { chat_template: "string" }))?.render(hello).value, "string");
  const byName = await load({}, named);
  assert.equal(byName?.render(hello).value, "plain");
  assert.equal(byName?.render(hello, { tools: [{}] }).value, "tools");
  assert.equal((await load({ "chat_template.jinja": "file" }, named))?.render(hello).value, "file");
  await assert.rejects(
    load({}, { chat_template: [{ name: "rag", template: "x" }] }),
    /none named "default"$/,
  );
  await assert.rejects(load({ "chat_template.jinja": "x".repeat(2 << 20) }, {}), /are more than the/);
});

Deno.test("a template that writes beginning-of-text does not get two, one that does not gets one", async () => {
  const files = {
    "tokenizer.json": await Deno.readTextFile(`${llama2}/tokenizer.json`),
    "tokenizer_config.json": await Deno.readTextFile(`${llama2}/tokenizer_config.json`),
  };
  for (const source of ["{{ bos_token }}{{ messages[0].content }}", "{{ messages[0].content }}"]) {
    await using folder = await temporaryFolder({ ...files, "chat_template.jinja": source });
    const tokenizer = await Tokenizer.load(folder.path);
    const { ids } = tokenizer.encodePrompt({ type: "chat", messages: hello });
    assert.deepEqual([...ids].filter((id) => id === 1), [1], source);
    assert.equal(ids[0], 1);
  }
});

Deno.test("a model without a template says so", async () => {
  const tokenizer = await Tokenizer.load(llama2);
  assert.throws(
    () => tokenizer.encodePrompt({ type: "chat", messages: hello }),
    /has no chat template; send plain text$/,
  );
});

Deno.test("hostile templates are stopped by a limit, with one line", () => {
  const double = (body: string, turns: number, start = "'x'") =>
    `{% set ns = namespace(s=${start}) %}{% for i in range(${turns}) %}{% set ns.s = ${body} %}{% endfor %}{{ ns.s }}`;
  const hostile: [string, RegExp][] = [
    [
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      /too (many steps|large a list)$/,
    ],
    ["{{ range(1000000000) | length }}", /too large a list$/],
    ["{{ range(0, 10, 0) }}", /too large a list$/],
    [double("ns.s + ns.s", 60), /too long a text$/],
    [double("ns.s ~ ns.s", 60), /too long a text$/],
    [double("ns.s.replace('x', 'xxxxxxxxxxxxxxxxxxxx')", 20), /too long a text$/],
    [double("ns.s | replace('', ns.s)", 20, "'xyxyxyxyxyxyxyxyxyxyxyxyxyxyx'"), /too long a text$/],
    [double("range(1000) | join(ns.s ~ ns.s)", 20), /too long a text$/],
    [double("[ns.s, ns.s]", 60), /too (many steps|long a text)$/],
    [
      "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
      /too many steps$/,
    ],
    [
      "{% set ns = namespace(s=(1, 2)) %}{% for i in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
      /unhashable type/,
    ],
    [double("ns.s + ns.s", 60, "[1]"), /too large a list$/],
    [double("{'a': ns.s, 'b': ns.s}", 60), /too (many steps|long a text)$/],
    [double("{'a': ns.s, 'b': ns.s}", 60) + "{{ ns.s | tojson }}", /too (many steps|long a text)$/],
    [double("ns.s * 1000", 20), /too long a text$/],
    [double("ns.s * 1000", 20, "[1]"), /too large a list$/],
    ["{{ '{:>999999999}'.format('x') }}", /too long a text$/],
    ["{{ '%999999999d' % 1 }}", /too long a text$/],
    ["{{ 'x'.center(999999999) }}", /too long a text$/],
    [
      "{% for i in range(100) %}{% for j in range(1000) %}{% set x = 'x' * 1000000 %}{% endfor %}{% endfor %}",
      /too many (steps|long texts)$/,
    ],
    ["{{ [1].append(2) }}", /is unsafe$/],
    ["{{ 'x' | indent(100000000) }}", /indents too far$/],
    ["{{ 'x' | indent(width=100000000) }}", /indents too far$/],
    ["{{ [1] | tojson(indent=100000000) }}", /indents too far$/],
    ["{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", /nests too deeply|too many steps/],
    ["{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(0) }}", /nests too deeply|too many steps/],
    ["{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", /nests too deeply/],
  ];
  for (const [source, message] of hostile) assert.match(failure(source), message, source);
});

Deno.test("a template that cannot be parsed, or only with a deep stack, fails when it is used", () => {
  assert.match(failure("{% if"), /^chat template: cannot be parsed: /);
  assert.match(failure("x".repeat(2 << 20)), /cannot be parsed: it is too long$/);
  const deep = `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`;
  assert.match(failure(deep), /cannot be parsed: nests too deeply/);
  const nested = `${"{% if true %}".repeat(20_000)}${"{% endif %}".repeat(20_000)}`;
  assert.match(failure(nested), /cannot be parsed: nests too deeply/);
});

Deno.test("marks of the parts to train on are passed over", () => {
  const source = "{% for m in messages %}{%- generation -%} {{ m.content }} {%- endgeneration %}{% endfor %}";
  assert.equal(template(source).render(hello).value, "Hello");
});

Deno.test("a template reaches nothing but its variables", () => {
  const nothing = [
    "constructor",
    "messages.constructor",
    "messages[0].__proto__",
    "''.constructor",
    "range.constructor",
    "Deno",
    "self",
    "globalThis",
  ];
  for (const name of nothing) {
    const result = failure(`{{ ${name} is defined and ${name} is not none }}`);
    assert.ok(result === "rendered" || result.startsWith("chat template: "));
    if (result === "rendered") {
      assert.equal(template(`{{ ${name} is defined and ${name} is not none }}`).render(hello).value, "False");
    }
  }
  assert.match(failure("{{ ''.constructor.constructor('return 1')() }}"), /^chat template: /);
});

Deno.test("break and continue leave a loop without counting as nesting", () => {
  const source =
    "{% for i in range(2000) %}{% if i % 2 %}{% continue %}{% endif %}{% if i > 1900 %}{% break %}{% endif %}x{% endfor %}";
  assert.equal(template(source).render(hello).value.length, 951);
});

Deno.test("a long conversation is within the limits", () => {
  const source = Deno.readTextFileSync(`${pocket}/chat_template.jinja`);
  const messages = Array.from(
    { length: 2000 },
    (_, i) => ({ role: i % 2 ? "assistant" : "user", content: "word ".repeat(200) }),
  );
  assert.ok(template(source).render(messages).value.length > 2_000_000);
});

Deno.test("the present time can be written", () => {
  const text = template("{{ strftime_now('%Y-%m-%d %B %b %A %a %H:%M:%S %% %q') }}").render(hello).value;
  assert.match(
    text,
    /^\d{4}-\d\d-\d\d [A-Z][a-z]+ [A-Z][a-z]{2} [A-Z][a-z]+day [A-Z][a-z]{2} \d\d:\d\d:\d\d % %q$/,
  );
});
