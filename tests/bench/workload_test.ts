import assert from "node:assert/strict";
import { PythonRandom } from "../../bench/common/python_random.ts";
import { offlineWorkload } from "../../bench/common/workload.ts";

Deno.test("PythonRandom gives what Python's random.randint gives", () => {
  const after = (seed: number, low: number, high: number) => {
    const random = new PythonRandom(seed);
    return Array.from({ length: 6 }, () => random.int(low, high));
  };
  assert.deepEqual(after(0, 100, 1024), [964, 494, 876, 1011, 530, 141]);
  assert.deepEqual(after(123456789, 0, 1), [1, 1, 1, 1, 1, 1]);
  assert.deepEqual(after(4294967295, -5, 4294967289), [
    2728839428,
    2661025007,
    872737084,
    924893092,
    2608619695,
    2243681743,
  ]);
});

Deno.test("PythonRandom gives what Python's random.random gives", () => {
  const random = new PythonRandom(7);
  assert.deepEqual([random.next(), random.next(), random.next()], [
    0.32383276483316237,
    0.15084917392450192,
    0.6509344730398537,
  ]);
});

Deno.test("the default offline workload is mini-SGLang's: 142,827 tokens in and 133,966 out", () => {
  const workload = offlineWorkload({
    requests: 256,
    minTokens: 100,
    maxTokens: 1024,
    seed: 0,
    vocabSize: 151_936,
  });
  assert.equal(workload.length, 256);
  assert.equal(workload.reduce((sum, { ids }) => sum + ids.length, 0), 142_827);
  assert.equal(workload.reduce((sum, { outputTokens }) => sum + outputTokens, 0), 133_966);
  assert.deepEqual([...workload[0]!.ids.slice(0, 5)], [6311, 6890, 663, 4242, 8376]);
});

Deno.test("a small vocabulary wraps the ids and changes no length", () => {
  const options = { requests: 5, minTokens: 3, maxTokens: 9, seed: 7 };
  const large = offlineWorkload({ ...options, vocabSize: 20_000 });
  const small = offlineWorkload({ ...options, vocabSize: 100 });
  assert.deepEqual(small.map(({ ids }) => [...ids]), large.map(({ ids }) => [...ids].map((id) => id % 100)));
  assert.deepEqual(small.map((each) => each.outputTokens), large.map((each) => each.outputTokens));
});
