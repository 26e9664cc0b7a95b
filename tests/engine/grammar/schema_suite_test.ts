// The official JSON Schema test suite (MIT), read in place: every instance through the grammar of its schema.
// Instances are written as JSON.stringify writes them.
import assert from "node:assert/strict";
import { GrammarError } from "../../../engine/grammar/errors.ts";
import type { Grammar } from "../../../engine/grammar/grammar.ts";
import { accepts, schemaGrammar, suiteFolder } from "./support.ts";

interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly {
    readonly description: string;
    readonly data: unknown;
    readonly valid: boolean;
  }[];
}

const folder = suiteFolder();
if (folder === undefined) {
  console.log("  no JSON Schema test suite at $RADISH_JSON_SCHEMA_SUITE or ../shared: its tests are ignored");
}

// What is valid and not written by us, by file and description: documented limits of what numbers, times and mail
// addresses are written like, and formats that an option of the suite leaves unchecked.
const NARROWER: readonly RegExp[] = [
  /^format\.json .* is only an annotation by default$/,
  /^vocabulary\.json .*no validation/,
  /^(optional\/)?(float-overflow|bignum)\.json /,
  /^optional\/format\/(date-)?time\.json .*(leap second|second fraction of fifteen nines)/,
  /^optional\/format\/hostname\.json validation of A-label/,
  /^optional\/format\/email\.json .*(quoted string|address-literal)/,
];
// What no draft since 2019 asserts: annotations.
const ANNOTATIONS = /^optional\/content\.json /;

function* groups(draft: string): Generator<[file: string, group: Group]> {
  for (const part of ["", "optional/", "optional/format/"]) {
    for (const { name, isFile } of Deno.readDirSync(`${folder}/tests/${draft}/${part}`)) {
      if (!isFile) continue;
      const list: Group[] = JSON.parse(Deno.readTextFileSync(`${folder}/tests/${draft}/${part}${name}`));
      for (const group of list) yield [part + name, group];
    }
  }
}

function compile(draft: string, group: Group): Grammar | GrammarError {
  const { schema } = group;
  const plain = draft === "draft7" && typeof schema === "object"
    ? { $schema: "http://json-schema.org/draft-07/schema#", ...schema }
    : schema;
  try {
    return schemaGrammar(plain);
  } catch (error) {
    if (error instanceof GrammarError) return error;
    throw error;
  }
}

for (const [draft, least] of [["draft2020-12", 330], ["draft7", 270]] as const) {
  Deno.test({
    name: `of the test suite of ${draft}, no invalid instance is accepted and no valid one refused`,
    ignore: folder === undefined,
    fn() {
      let compiled = 0;
      const wrong: string[] = [];
      for (const [file, group] of groups(draft)) {
        const grammar = compile(draft, group);
        if (grammar instanceof GrammarError) {
          // Only a schema that nothing satisfies may be called empty.
          if (grammar.kind === "empty" && group.tests.some((test) => test.valid)) {
            wrong.push(`${file} ${group.description}: empty`);
          }
          continue;
        }
        compiled++;
        for (const test of group.tests) {
          const text = JSON.stringify(test.data);
          const name = `${file} ${group.description}: ${test.description}`;
          if (accepts(grammar, text) === test.valid) continue;
          const known = test.valid ? NARROWER.some((one) => one.test(name)) : ANNOTATIONS.test(name);
          if (!known) wrong.push(`${name}: ${text} is ${test.valid ? "refused" : "accepted"}`);
        }
      }
      assert.deepEqual(wrong, []);
      assert.ok(compiled >= least, `only ${compiled} schemas were compiled`);
    },
  });
}

Deno.test({
  name: "what the suite's schemas are refused for names a keyword and a place",
  ignore: folder === undefined,
  fn() {
    const keywords = new Set<string>();
    for (const [, group] of groups("draft2020-12")) {
      const grammar = compile("draft2020-12", group);
      if (!(grammar instanceof GrammarError) || grammar.kind !== "unsupported") continue;
      keywords.add(grammar.keyword);
      assert.match(grammar.message, new RegExp(`^${grammar.keyword.replaceAll("$", "\\$")}[ :]`));
    }
    assert.deepEqual([...keywords].sort(), [
      "$dynamicRef",
      "$ref",
      "format",
      "minProperties",
      "multipleOf",
      "unevaluatedItems",
      "unevaluatedProperties",
      "uniqueItems",
    ]);
  },
});
