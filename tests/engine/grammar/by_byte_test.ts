// What each byte of a place leads to.
import assert from "node:assert/strict";
import fc from "fast-check";
import { type ByByte, getByte, withByte } from "../../../engine/grammar/automaton/by_byte.ts";

Deno.test("a place gives back what was said of each byte and knows nothing of the others", () => {
  const values = Array.from({ length: 40 }, (_, value) => ({ value }));
  const said = fc.uniqueArray(
    fc.tuple(fc.nat(255), fc.option(fc.constantFrom(...values), { freq: 2 })),
    { selector: ([byte]) => byte, maxLength: 60, size: "max" },
  );
  let most = 0;
  fc.assert(
    fc.property(said, (said) => {
      let table: ByByte<{ value: number }> | undefined;
      for (const [byte, value] of said) table = withByte(table, byte, value);
      const map = new Map(said);
      for (let byte = 0; byte < 256; byte++) assert.equal(getByte(table, byte), map.get(byte), `${byte}`);
      most = Math.max(most, [...map.values()].filter((value) => value !== null).length);
    }),
    { numRuns: 1000, seed: 7 },
  );
  assert.ok(most > 20);
});
