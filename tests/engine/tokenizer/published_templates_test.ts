// Published chat templates and our reductions of them against transformers itself. The templates are other people's
// and not kept here: $RADISH_CHAT_TEMPLATES names a folder of `.jinja` files, such as `models/templates` of llama.cpp,
// which npm's node-llama-cpp carries as a git bundle. Python with transformers is the judge ($RADISH_PYTHON, or the
// python3 on the PATH). .ci/run gets both.

import assert from "node:assert/strict";
import { ChatTemplate } from "../../../engine/tokenizer/chat_template.ts";
import { conversations } from "./conversations.ts";
import { jinjaCases, jinjaVariables } from "./jinja_cases.ts";
import { hasPython, python } from "../../python.ts";

const folder = Deno.env.get("RADISH_CHAT_TEMPLATES");
const judge = await hasPython("transformers", "jinja2");

interface Work {
  readonly source: string;
  readonly conversations: readonly unknown[];
}

function rendered(work: readonly Work[]): Promise<(string | null)[][]> {
  return python(new URL("render_templates.py", import.meta.url), work);
}

Deno.test({
  name: `transformers renders our reductions as they say${
    judge ? "" : " (ignored: python3 has no transformers)"
  }`,
  ignore: !judge,
  fn: async () => {
    const texts = await rendered(
      jinjaCases.map(([source]) => ({ source, conversations: [{ globals: jinjaVariables }] })),
    );
    jinjaCases.forEach(([source, expected], i) => assert.equal(texts[i]![0], expected, source));
  },
});

const missing = folder === undefined
  ? " (ignored: $RADISH_CHAT_TEMPLATES names no folder of templates)"
  : judge
  ? ""
  : " (ignored: python3 has no transformers)";

Deno.test({
  name: `published chat templates render as transformers renders them, or both refuse${missing}`,
  ignore: missing !== "",
  fn: async () => {
    const names = [...Deno.readDirSync(folder!)].map(({ name }) => name).filter((name) =>
      name.endsWith(".jinja")
    );
    assert.ok(names.length >= 50, `${names.length} templates`);
    const sources = names.map((name) => Deno.readTextFileSync(`${folder}/${name}`));
    const texts = await rendered(sources.map((source) => ({ source, conversations })));
    const different: string[] = [];
    let same = 0;
    let refused = 0;
    sources.forEach((source, i) => {
      const template = new ChatTemplate(source, source, { bos_token: "<s>", eos_token: "</s>" });
      conversations.forEach(({ name, messages, tools, args }, j) => {
        let text: string | null = null;
        try {
          text = template.render(messages, { tools, templateArgs: args }).value;
        } catch { /* refused */ }
        const expected = texts[i]![j]!;
        if (text === expected && text !== null) same++;
        else if (text === expected) refused++;
        else different.push(`${names[i]}/${name}`);
      });
    });
    assert.deepEqual(different, []);
    console.log(
      `  ${names.length} templates: ${same} renderings are the same, ${refused} are refused by both`,
    );
    assert.ok(same >= 1000, `${same} renderings compared`);
  },
});
