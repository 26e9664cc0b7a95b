// The preparation of inputs and the expansion of int8 weights against float64.

import { rowBytes } from "../../kernels/formats/mod.ts";
import type { KernelLaunch } from "../../kernels/cuda/gemm/launch.ts";
import { launchExpand, launchPrepare } from "../../kernels/cuda/gemm/prepare.ts";
import { ElementType } from "../../kernels/cuda/memory.ts";
import { Deviation, type Element, type Pool, valuesOf } from "./data.ts";
import type { Gpu } from "./gpu.ts";

/** Compares `prepare` with float64. */
export function checkPrepare(gpu: Gpu, element: Element): { lines: string[]; right: boolean } {
  const rows = 5, columns = 20_488, epsilon = 1e-6;
  const input = Float32Array.from(
    { length: rows * columns },
    (_, i) => Math.sin(i) * (i < columns ? 1e5 : 1),
  );
  const weight = Float32Array.from({ length: columns }, (_, i) => 1 + Math.cos(i));
  const addresses = [
    gpu.upload(input),
    gpu.upload(weight),
    gpu.alloc(2 * rows * columns),
    gpu.alloc(4 * rows),
  ] as const;
  let worst = 0;
  for (const norm of [true, false]) {
    const launch: KernelLaunch = launchPrepare({
      rows,
      columns,
      element,
      input: addresses[0],
      inputType: "f32",
      inputStride: columns,
      norm: norm ? { weight: addresses[1], epsilon } : null,
      output: addresses[2],
      rowScale: addresses[3],
      gather: null,
    }, gpu.capability);
    gpu.run(launch);
    const out = new Uint16Array(gpu.read(addresses[2], 2 * rows * columns));
    const scales = new Float32Array(gpu.read(addresses[3], 4 * rows));
    const values = valuesOf(element), deviation = new Deviation();
    for (let r = 0; r < rows; r++) {
      const x = input.subarray(r * columns, (r + 1) * columns);
      const factor = norm ? 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / columns + epsilon) : 1;
      x.forEach((v, k) =>
        deviation.add(values[out[r * columns + k]!]! * scales[r]!, v * factor * (norm ? weight[k]! : 1))
      );
    }
    worst = Math.max(worst, deviation.relative);
  }
  for (const address of addresses) gpu.free(address);
  return {
    lines: [`prepare ${element}: largest deviation ${worst.toExponential(1)}`],
    right: worst < (element === "bf16" ? 3e-3 : 4e-4),
  };
}

/** Compares `expand` with what int8 weights mean. */
export function checkExpand(gpu: Gpu, pool: Pool): { lines: string[]; right: boolean } {
  const rows = 37, columns = 1096, stride = rowBytes("q8", columns) / 2, weightAt = 1 << 20;
  const output = gpu.alloc(2 * rows * columns);
  gpu.run(launchExpand(pool.pointer(weightAt), output, rows, columns, ElementType.q8, gpu));
  const out = new Uint16Array(gpu.read(output, 2 * rows * columns)),
    values = valuesOf("bf16"),
    halves = valuesOf("f16");
  const deviation = new Deviation();
  out.forEach((bits, i) => {
    const base = weightAt + Math.floor(i / columns) * stride, k = i % columns;
    const byte = (pool.bits(base + (k >> 1)) >> (8 * (k & 1))) & 0xff;
    deviation.add(values[bits]!, (byte << 24 >> 24) * halves[pool.bits(base + columns / 2 + (k >> 5))]!);
  });
  gpu.free(output);
  const off = deviation.relative;
  return {
    lines: [`expand: deviation ${off.toExponential(1)}`],
    right: off < 3e-3,
  };
}
