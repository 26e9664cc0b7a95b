import assert from "node:assert/strict";
import { corpusFiles, readCase } from "../../bench/grammar/corpus.ts";

Deno.test("instances of a corpus keep their numbers as written, and are spaced as Python spaces them", async () => {
  const folder = await Deno.makeTempDir();
  const tests = '[{"valid": false, "data": {"a": [12345.0, 9223372036854776001, -0], "b": "é\\n"}}]';
  await Deno.writeTextFile(`${folder}/b.json`, `{"schema": {"type": "object"}, "tests": ${tests}}`);
  await Deno.writeTextFile(`${folder}/a.json`, "{}");
  assert.deepEqual(corpusFiles(folder, 1), ["a.json", "b.json"]);
  assert.deepEqual(corpusFiles(folder, 2), ["a.json"]);
  const { schema, tests: read } = readCase(folder, "b.json");
  assert.deepEqual(schema, { type: "object" });
  assert.deepEqual(read, [{ valid: false, text: '{"a": [12345.0, 9223372036854776001, -0], "b": "é\\n"}' }]);
  await Deno.remove(folder, { recursive: true });
});
