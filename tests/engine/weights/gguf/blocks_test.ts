import assert from "node:assert/strict";
import { ggmlTypeNamed } from "../../../../engine/weights/gguf/types.ts";
import { ggufTest, runPython } from "./python.ts";

ggufTest("blocks of every type mean what the gguf package says, bit for bit", async (folder) => {
  const names = await runPython<string[]>("blocks.py", folder);
  assert.ok(names.length >= 13);
  for (const name of names) {
    const type = ggmlTypeNamed.get(name)!;
    const data = await Deno.readFile(`${folder}/${name}.blocks`);
    const expected = new Float32Array((await Deno.readFile(`${folder}/${name}.values`)).buffer);
    const values = new Float32Array(data.length / type.blockBytes * type.blockElements);
    type.decode!(data, values);
    assert.equal(values.length, expected.length);
    const wrong = values.findIndex((value, i) => value !== expected[i]);
    assert.equal(wrong, -1, `${name}: element ${wrong} is ${values[wrong]}, expected ${expected[wrong]}`);
  }
});
