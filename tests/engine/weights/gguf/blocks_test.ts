import assert from "node:assert/strict";
import { ggmlTypeNamed } from "../../../../engine/weights/gguf/types.ts";
import { repackings } from "../../../../engine/weights/gguf/repack.ts";
import { formats } from "../../../../kernels/formats/mod.ts";
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

ggufTest("blocks as rows of the device's formats mean the same, bit for bit", async (folder) => {
  await runPython("blocks.py", folder);
  assert.ok(Object.keys(repackings).length >= 7);
  for (const [name, { native, repack }] of Object.entries(repackings)) {
    const { blockElements, blockBytes } = ggmlTypeNamed.get(name)!;
    const data = await Deno.readFile(`${folder}/${name}.blocks`);
    const expected = new Float32Array((await Deno.readFile(`${folder}/${name}.values`)).buffer);
    // All blocks in one row, and in rows of two.
    for (const columns of [data.length / blockBytes * blockElements, 2 * blockElements]) {
      const rows = repack(data, columns);
      assert.equal(rows.length, expected.length / columns * formats[native].rowBytes(columns));
      const values = formats[native].decode(rows, columns);
      const wrong = values.findIndex((value, i) => {
        // Of a scale with a sign and −128, which no quantiser makes, 127 is left.
        const most = name === "Q8_0" && data[Math.floor(i / 32) * 34 + 1]! & 0x80 &&
          data[Math.floor(i / 32) * 34 + 2 + i % 32] === 128;
        return most ? value !== Math.fround(expected[i]! * 127 / 128) : value !== expected[i];
      });
      assert.equal(wrong, -1, `${name}: element ${wrong} is ${values[wrong]}, expected ${expected[wrong]}`);
    }
  }
});
