import assert from "node:assert/strict";
import { Float } from "../../../kernels/cuda/arguments.ts";
import { CudaBackend } from "../../../kernels/cuda/backend.ts";
import { CudaDevice } from "../../../kernels/cuda/device.ts";
import { probeCuda } from "../../../kernels/cuda/find.ts";
import { FakeDriver, fakeProperties } from "./fake_driver.ts";

Deno.test("arguments of a launch stand where its table of pointers points", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  device.launch(device.kernel("embed", "embed"), [3, 2], 64, 0, [2n ** 40n + 5n, -7, new Float(0.5), 0n]);
  const [{ grid, threads, args }] = fake.launches as [FakeDriver["launches"][0]];
  assert.deepEqual([grid, threads], [[3, 2, 1], 64]);
  assert.equal(args.getBigUint64(0, true), 2n ** 40n + 5n);
  assert.equal(args.getInt32(8, true), -7);
  assert.equal(args.getFloat32(16, true), 0.5);
  assert.equal(args.getBigUint64(24, true), 0n);
});

Deno.test("from compute capability 9.0 on kernels that wait for themselves are launched to begin early", () => {
  for (const [capability, early] of [[89, false], [90, true], [100, true]] as const) {
    const fake = new FakeDriver();
    using device = new CudaDevice(fake.driver, { ...fakeProperties, capability });
    device.launch(device.kernel("embed", "embed"), [5, 4, 3], 96, 0, [7, 8n]);
    const described = { threads: 64, sharedBytes: 0, cluster: 1, programmatic: true, parameters: [] };
    device.start({ ...described, module: "prefill_f16_sm90", kernel: "prefill_64_64", grid: [2, 1, 1] });
    const [first, second] = fake.launches as [FakeDriver["launches"][0], FakeDriver["launches"][0]];
    assert.deepEqual([first.early, second.early], [early, false]);
    assert.deepEqual([first.grid, first.threads], [[5, 4, 3], 96]);
    assert.deepEqual([first.args.getInt32(0, true), first.args.getBigUint64(8, true)], [7, 8n]);
  }
});

Deno.test("memory that is used up is one line with what was asked for, what is free, and what to do", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  assert.throws(
    () => device.alloc(3 * 2 ** 30, "keys of a layer"),
    /^CudaError: keys of a layer takes 3\.00 GiB, but of the GPU's 1\.00 GiB only 1\.00 GiB are free: give a smaller[^\n]*$/,
  );
  // The device is as good as before.
  assert.ok(device.alloc(1024, "little").address > 0n);
});

Deno.test("after an illegal address every call fails with the kernel that was running", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  device.launch(device.kernel("embed", "embed"), [1, 1], 32, 0, []);
  fake.fail.set("cuStreamSynchronize", 700);
  const pattern =
    /CUDA error 700 \(a readback; in kernel embed\/embed\): a kernel read or wrote outside of its memory/;
  assert.throws(() => device.synchronize("a readback"), pattern);
  fake.fail.clear();
  assert.throws(() => device.assertAlive(), pattern);
});

Deno.test("with several kernels in flight the message lists them and says how to find the one", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  for (const name of ["embed", "scatter"]) device.launch(device.kernel("embed", name), [1, 1], 32, 0, []);
  fake.fail.set("cuEventSynchronize", 719);
  assert.throws(
    () => device.wait(1n),
    /in one of the kernels embed\/embed, embed\/scatter \(RADISH_CUDA_CHECK=1/,
  );
});

Deno.test("a device that checks waits after each launch and names the kernel", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties, true);
  device.launch(device.kernel("embed", "embed"), [1, 1], 32, 0, []);
  fake.fail.set("cuStreamSynchronize", 716);
  assert.throws(
    () => device.launch(device.kernel("moe", "route"), [1, 1], 32, 0, []),
    /in moe\/route; in kernel moe\/route\): a kernel used an address that is not aligned/,
  );
});

Deno.test("pinned memory does not overlap, and large pieces get memory of their own", () => {
  const fake = new FakeDriver();
  using device = new CudaDevice(fake.driver, fakeProperties);
  const [a, b, large] = [device.pin(300), device.pin(10), device.pin(2 ** 26)];
  assert.ok(b.address >= a.address + 300n);
  assert.equal(b.address - a.address, BigInt(b.data.byteOffset - a.data.byteOffset));
  assert.notEqual(large.data.buffer, a.data.buffer);
});

Deno.test("memory that an ended worker left pinned is pinned anew, or other memory taken", () => {
  for (const stale of [1, 2, 3]) {
    const fake = new FakeDriver();
    fake.stale = stale;
    using device = new CudaDevice(fake.driver, fakeProperties);
    assert.ok(device.pin(100).address > 0n);
    assert.equal(fake.stale, 0);
  }
});

Deno.test("a probe never throws, and gives GPUs or the reason why there is none", async () => {
  const { devices, problem } = await probeCuda();
  assert.ok(problem === null ? devices.length > 0 : problem.length > 10 && !problem.includes("\n"));
});

Deno.test("a weight in a format without kernels is refused by name, and the loader is told which there are", () => {
  const fake = new FakeDriver();
  using backend = new CudaBackend(new CudaDevice(fake.driver, fakeProperties), "a GPU", {});
  assert.deepEqual([...backend.dtypes].sort(), ["bf16", "f16", "f32", "q4_0", "q4_1", "q4_k", "q6_k", "q8"]);
  assert.throws(
    () => backend.createMatrix({ name: "head", rows: 8, columns: 256, dtype: "q5_k" }),
    /^CudaError: head: there are no kernels for q5_k on CUDA$/,
  );
});
