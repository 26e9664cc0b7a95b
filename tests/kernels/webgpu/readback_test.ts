import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { GpuDevice } from "../../../kernels/webgpu/device/device.ts";
import { Readback, type Staging } from "../../../kernels/webgpu/device/readback.ts";

/** Copies words to a staging buffer by way of the device. */
function send(
  gpu: GpuDevice,
  staging: Staging,
  words: Uint32Array<ArrayBuffer>,
): void {
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const source = gpu.device.createBuffer({ size: words.byteLength, usage });
  gpu.queue.writeBuffer(source, 0, words);
  const encoder = gpu.device.createCommandEncoder();
  encoder.copyBufferToBuffer(source, 0, staging.buffer, 0, words.byteLength);
  gpu.queue.submit([encoder.finish()]);
}

gpuTest("every readback returns what the device wrote last, whether its buffer is new or used", async () => {
  using gpu = await GpuDevice.open();
  const readback = await Readback.create(gpu, 4096);
  let waited = 0;
  for (let i = 0; i < 60; i++) {
    const length = i % 3 === 0 ? 4 : i % 3 === 1 ? 1000 : 5000;
    const words = Uint32Array.from({ length }, (_, j) => i * 10_007 + j);
    const staging = readback.acquire(4 * length);
    send(gpu, staging, words);
    const data = readback.read(staging, 4 * length);
    if (data instanceof Promise) waited++;
    assert.deepEqual(new Uint32Array(await data), words);
  }
  // Only a buffer that was never mapped has to be awaited, where reading at once works at all.
  assert.ok(
    readback.immediate ? waited <= 2 : waited === 60,
    `${waited} of 60 awaited`,
  );
});

gpuTest("buffers of several steps in flight keep their own results", async () => {
  using gpu = await GpuDevice.open();
  const readback = await Readback.create(gpu, 4096);
  const staging = [1, 2, 3, 4, 5].map((value) => {
    const lent = readback.acquire(64);
    send(gpu, lent, new Uint32Array(16).fill(value));
    return lent;
  });
  for (const [i, lent] of staging.entries()) {
    const words = new Uint32Array(await readback.read(lent, 64));
    assert.ok(words.every((w) => w === i + 1));
  }
});

gpuTest("reading from a lost device is an error, not a crash", async () => {
  using gpu = await GpuDevice.open();
  const readback = await Readback.create(gpu, 4096);
  const staging = readback.acquire(64);
  gpu.device.destroy();
  await assert.rejects(async () => await readback.read(staging, 64), {
    name: "DeviceError",
  });
});
