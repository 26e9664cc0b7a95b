import { gpuTest } from "../../gpu.ts";
import assert from "node:assert/strict";
import { createWebGpuBackend } from "../../../kernels/webgpu/backend.ts";
import {
  adapterRemedy,
  GpuDevice,
  isSoftware,
  NoAdapterError,
  probeWebGpu,
} from "../../../kernels/webgpu/device/device.ts";
import { plan } from "../plans.ts";

const named = (description: string, vendor = "") => ({
  description,
  vendor,
  device: "",
  architecture: "",
});

Deno.test("software adapters are recognised by their names, and GPUs are not taken for them", () => {
  const software = [
    "llvmpipe (LLVM 15.0.6, 256 bits)",
    "SwiftShader Device (Subzero)",
    "Microsoft Basic Render Driver",
  ];
  for (const name of software) assert.ok(isSoftware(named(name)), name);
  for (
    const name of [
      "NVIDIA H200",
      "AMD Radeon RX 7900 XTX (RADV NAVI31)",
      "Apple M3",
      "Intel(R) Arc(TM) A770",
    ]
  ) {
    assert.ok(!isSoftware(named(name)), name);
  }
});

Deno.test("a missing adapter is an error that says what to install", () => {
  const { name, message } = new NoAdapterError();
  assert.equal(name, "NoAdapterError");
  assert.ok(message.includes(adapterRemedy()));
  if (Deno.build.os === "linux") {
    assert.match(message, /apt-get install -y mesa-vulkan-drivers/);
  }
});

gpuTest("the report for doctor agrees with the device that is opened", async () => {
  using gpu = await GpuDevice.open();
  const report = await probeWebGpu();
  assert.ok(report);
  assert.equal(report.software, gpu.caps.software);
  assert.deepEqual(report.features, [...gpu.device.features]);
  assert.equal(
    report.limits.maxStorageBufferBindingSize,
    gpu.caps.maxBindingBytes,
  );
  assert.deepEqual(report.subgroup, {
    min: gpu.caps.minSubgroup,
    max: gpu.caps.maxSubgroup,
  });
});

gpuTest("an error that the device reports fails the step in flight, and every later one", async () => {
  using backend = await createWebGpuBackend();
  backend.createState({
    numLayers: 1,
    heads: { numHeads: 1, numKvHeads: 1, headDim: 16 },
    vocabSize: 8,
    vocabStart: 0,
    pageSize: 1,
    numPages: 4,
    maxRows: 2,
    contextLength: 8,
    maxTokens: 4,
    maxSamples: 2,
    hiddenSize: 64,
  });
  const sequences = [{ row: 0, cached: 0, extend: 1, sample: false }];
  const fine = backend.record(plan(1, sequences), () => {});
  fine.submit();
  assert.equal((await fine.read()).id, 1);
  // One buffer as input and as output of a kernel, which WebGPU forbids.
  const x = backend.createActivation(16, "hidden");
  const matrix = backend.createMatrix({
    name: "m",
    rows: 16,
    columns: 16,
    dtype: "f32",
  });
  const broken = backend.record(plan(2, sequences), (ops) => {
    ops.linear({ input: x, weight: matrix, output: x, epilogue: "store" });
  });
  broken.submit();
  await assert.rejects(async () => await broken.read(), {
    name: "DeviceError",
  });
  assert.throws(() => backend.record(plan(3, sequences), () => {}), {
    name: "DeviceError",
  });
});
