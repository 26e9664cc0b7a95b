import assert from "node:assert/strict";
import { mean, median, percentile, trend } from "../../bench/common/statistics.ts";
import { figure, table } from "../../bench/common/table.ts";

Deno.test("percentiles interpolate between neighbours and do not mind the order", () => {
  const values = [4, 1, 3, 2];
  assert.equal(percentile(values, 0), 1);
  assert.equal(percentile(values, 1), 4);
  assert.equal(median(values), 2.5);
  assert.equal(median([7, 1, 5]), 5);
  assert.ok(Math.abs(percentile(values, 0.9) - 3.7) < 1e-12);
  assert.equal(mean(values), 2.5);
  assert.deepEqual(values, [4, 1, 3, 2]);
  assert.ok(Number.isNaN(median([])));
});

Deno.test("a trend is the slope of the line nearest to the points", () => {
  assert.equal(trend([[0, 1], [1, 3], [2, 5]]), 2);
  assert.equal(trend([[0, 4], [1, 5], [2, 3], [3, 4]]), -0.2);
  assert.ok(Number.isNaN(trend([[1, 1]])));
});

Deno.test("a figure has the digits that matter", () => {
  const cases = [[14359.4, "14,359"], [675, "675"], [24.63, "24.6"], [3, "3"], [1.234, "1.23"], [
    0.01234,
    "0.0123",
  ]];
  for (const [value, text] of cases) assert.equal(figure(value as number), text);
  assert.equal(figure(NaN), "—");
});

Deno.test("a table's columns are as wide as their widest cell", () => {
  assert.equal(
    table(["a", "bb"], [["long", "1"], ["x", "222"]]),
    "a       bb\n────   ───\nlong     1\nx      222",
  );
});
