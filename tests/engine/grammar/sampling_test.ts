// Random texts under the masks: whatever is finished validates, says a validator that has nothing to do with us.
import assert from "node:assert/strict";
import type { ValidateFunction } from "ajv";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import type { Grammar } from "../../../engine/grammar/grammar.ts";
import { MaskMaker } from "../../../engine/grammar/vocabulary/masks.ts";
import type { Vocabulary } from "../../../engine/grammar/vocabulary/vocabulary.ts";
import { Random } from "../../random.ts";
import { SCHEMAS, validator } from "./schemas.ts";
import { pocketVocabulary, qwenVocabulary, sample, schemaGrammar, suiteFolder } from "./support.ts";

function run(
  vocabulary: Vocabulary,
  schemas: readonly unknown[],
  texts: number,
  build: (schema: unknown) => Grammar | undefined = (schema) => schemaGrammar(schema),
): { finished: number; schemas: number } {
  const masks = new MaskMaker(vocabulary);
  const count = { finished: 0, schemas: 0 };
  const wrong: string[] = [];
  for (const schema of schemas) {
    const grammar = build(schema);
    if (grammar === undefined) continue;
    let validate: ValidateFunction;
    try {
      validate = validator(schema);
    } catch {
      continue; // the validator is stricter about schemas than the standard
    }
    count.schemas++;
    const random = new Random(count.schemas);
    for (let i = 0; i < texts; i++) {
      const text = sample(grammar, masks, random, { calm: random.int(2, 14) });
      if (text === undefined) continue;
      count.finished++;
      if (!validate(JSON.parse(text))) {
        wrong.push(`${JSON.stringify(schema)}\n${text}\n${JSON.stringify(validate.errors?.[0]?.message)}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  return count;
}

Deno.test("every finished text under a schema's masks validates, with the embedded model's vocabulary", async () => {
  for (const schema of SCHEMAS) validator(schema); // none is left out because the validator does not like it
  const { finished } = run(await pocketVocabulary(), SCHEMAS, 25);
  assert.ok(finished > SCHEMAS.length * 18, `${finished} texts were finished`);
});

Deno.test("so it is with properties in their declared order and without white space", async () => {
  const style = { order: "declared", whitespace: "none" } as const;
  const { finished } = run(
    await pocketVocabulary(),
    SCHEMAS,
    10,
    (schema) => schemaGrammar(schema, { style }),
  );
  assert.ok(finished > SCHEMAS.length * 7, `${finished} texts were finished`);
});

const qwen = await qwenVocabulary();
Deno.test({
  name: "every finished text validates with a vocabulary of 151,936 tokens",
  ignore: qwen === undefined,
  fn() {
    const { finished } = run(qwen!, SCHEMAS.filter((_, i) => i % 3 === 0), 2);
    assert.ok(finished > SCHEMAS.length / 3, `${finished} texts were finished`);
  },
});

const folder = suiteFolder();
Deno.test({
  name: "every finished text under the official test suite's schemas validates",
  ignore: folder === undefined,
  async fn() {
    const schemas: unknown[] = [];
    for (const draft of ["draft2020-12", "draft7"]) {
      for (const { name, isFile } of Deno.readDirSync(`${folder}/tests/${draft}`)) {
        // ajv does not know the metaschema of one, and does not follow the identifiers of the other.
        if (!isFile || name === "vocabulary.json" || name === "infinite-loop-detection.json") continue;
        for (
          const { schema, description } of JSON.parse(
            await Deno.readTextFile(`${folder}/tests/${draft}/${name}`),
          )
        ) {
          // In draft 7 a $id beside a $ref is not looked at; ajv does. The suite's own test decides.
          if (description.startsWith("$ref prevents a sibling $id")) continue;
          schemas.push(
            draft === "draft7" && typeof schema === "object"
              ? { $schema: "http://json-schema.org/draft-07/schema#", ...schema }
              : schema,
          );
        }
      }
    }
    const { finished } = run(await pocketVocabulary(), schemas, 6, (schema) => {
      try {
        return schemaGrammar(schema);
      } catch (error) {
        if (error instanceof GrammarError) return undefined;
        throw error;
      }
    });
    assert.ok(finished > 1500, `${finished} texts were finished`);
  },
});
