import assert from "node:assert/strict";
import { CudaDevice } from "../../../kernels/cuda/device.ts";
import { bucket, Graphs } from "../../../kernels/cuda/graphs.ts";
import type { Ops } from "../../../kernels/ops.ts";
import { FakeDriver, fakeProperties } from "./fake_driver.ts";

Deno.test("a bucket holds its sizes, with at most half as many again", () => {
  for (let n = 1; n < 2000; n++) {
    const size = bucket(n);
    assert.ok(size >= n && size <= Math.max(8, 1.5 * n), `${n}: ${size}`);
    assert.equal(bucket(size), size);
  }
  assert.equal(new Set(Array.from({ length: 256 }, (_, n) => bucket(n + 1))).size, 18);
});

Deno.test("a shape is launched once, then captured, then replayed, until scratch is replaced", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  const graphs = new Graphs(device);
  let generation = 0, launches = 0;
  const forward = (_: Ops) => {};
  const run = (key: string, grows = false) =>
    graphs.run(forward, key, () => generation, () => {
      launches++;
      if (grows) generation++;
    });
  const count = (name: string) => fake.calls.filter((call) => call === name).length;
  for (let i = 0; i < 5; i++) run("a");
  assert.deepEqual([launches, count("cuStreamBeginCapture_v2"), count("cuGraphLaunch")], [2, 1, 4]);
  // Another shape grows scratch: graphs may name memory that is gone.
  run("b", true);
  assert.equal(count("cuGraphExecDestroy"), 1);
  for (let i = 0; i < 3; i++) run("a");
  assert.deepEqual([launches, count("cuStreamBeginCapture_v2")], [5, 2]);
  graphs.clear();
  assert.equal(count("cuGraphExecDestroy"), 2);
});
