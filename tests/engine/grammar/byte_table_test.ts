// What each byte of many places leads to.
import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteTable, NOWHERE, UNKNOWN } from "../../../engine/grammar/automaton/byte_table.ts";

Deno.test("places give back what was said of each byte and know nothing of the others", () => {
  const value = fc.oneof(fc.constant(NOWHERE), fc.integer({ min: 1, max: 2 ** 31 - 1 }));
  const said = fc.uniqueArray(fc.tuple(fc.nat(20), fc.nat(255), value), {
    selector: ([place, byte]) => place << 8 | byte,
    maxLength: 600,
    size: "max",
  });
  let most = 0, beyond = 0;
  fc.assert(
    fc.property(said, (said) => {
      const table = new ByteTable();
      // What was said before `clear` is forgotten.
      for (const [place, byte] of said.slice(0, 50)) table.set(place, byte, 7);
      if (said.length % 2 === 0) table.clear();
      else for (const [place, byte, value] of said) table.set(place + 40, byte, value);
      const kept = said.length % 2 === 0 ? 0 : 50;
      for (const [place, byte, value] of said.slice(kept)) table.set(place, byte, value);
      const map = new Map(said.map(([place, byte, value]) => [place << 8 | byte, value]));
      for (const [place, byte] of said.slice(0, kept)) map.set(place << 8 | byte, 7);
      for (let place = 0; place < 40; place++) {
        for (let byte = 0; byte < 256; byte++) {
          assert.equal(table.get(place, byte), map.get(place << 8 | byte) ?? UNKNOWN, `${place}, ${byte}`);
        }
      }
      assert.equal(table.get(100, 0), UNKNOWN);
      most = Math.max(most, said.length);
      if (kept > 0) beyond++;
    }),
    { numRuns: 200, seed: 7 },
  );
  assert.ok(most > 300 && beyond > 20, `${most}, ${beyond}`);
});
