import assert from "node:assert/strict";
import fc from "fast-check";
import { progressLine } from "../../../server/cli/progress.ts";

Deno.test("a line of progress is shorter than the terminal is wide, whatever the message", () => {
  fc.assert(fc.property(
    fc.string({ unit: "grapheme-ascii", maxLength: 200 }),
    fc.double({ min: -1, max: 2, noNaN: true }),
    fc.integer({ min: 1, max: 300 }),
    (message, fraction, width) => assert.ok(progressLine(message, fraction, width).length < width),
  ));
});

Deno.test("where there is little room the bar goes first, then the end of the message", () => {
  assert.equal(progressLine("reading", 0.5, 120), `reading ${"█".repeat(14)}${"░".repeat(14)} 50 %`);
  assert.equal(progressLine("reading", 0.5, 24), `reading ${"█".repeat(5)}${"░".repeat(5)} 50 %`);
  assert.equal(progressLine("reading", 0.5, 20), "reading 50 %");
  assert.equal(progressLine("reading the weights", 1, 20), "reading the … 100 %");
  assert.equal(progressLine("reading", 0, 5), "… 0 ");
});
