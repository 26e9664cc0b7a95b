// Mixtures of experts.

import assert from "node:assert/strict";
import { formats } from "../../../kernels/formats/mod.ts";
import type { Backend } from "../../../kernels/ops.ts";
import { Random } from "../../random.ts";
import { plan } from "../plans.ts";
import { baseState, clamped, Pair, quantized, type Suite, tokensOnly, type Tolerances } from "./pair.ts";

/** Registers them. */
export function testExperts({ test, tolerances }: Suite): void {
  for (const full of [false, true]) {
    const with_ = full ? ", with biases and a clamped gate" : "";
    test(`mixture of experts equals the reference${with_}`, (tested) =>
      checkExperts(tested, full, tolerances));
  }
}

async function checkExperts(tested: Backend, full: boolean, tolerances: Tolerances): Promise<void> {
  const pair = new Pair(tested, baseState);
  const random = new Random(5);
  for (
    const [experts, perToken, hidden, inner, renormalize, dtype] of [
      [8, 2, 96, 64, true, "bf16"],
      [5, 3, 40, 24, false, "bf16"],
      [16, 4, 64, 32, true, "bf16"],
      [8, 2, 96, 64, true, "q8"],
      [5, 3, 40, 24, false, "q8"],
      ...quantized(tested).map((dtype) =>
        formats[dtype].blockColumns === 8
          ? [6, 2, 72, 40, true, dtype] as const
          : [4, 2, 256, 256, true, dtype] as const
      ),
      [6, 2, 352, 352, true, "q8"],
    ] as const
  ) {
    const router = pair.matrix(
      { name: "r", rows: experts, columns: hidden, dtype: "f32" },
      random.normals(experts * hidden, 0.3),
    );
    const gateUp = pair.matrix(
      { name: "g", rows: 2 * inner, columns: hidden, dtype, experts, layout: "paired" },
      random.normals(experts * 2 * inner * hidden, 1 / Math.sqrt(hidden)),
    );
    const down = pair.matrix(
      { name: "d", rows: hidden, columns: inner, dtype, experts },
      random.normals(experts * hidden * inner, 0.2),
    );
    const norm = pair.each((b) => ({
      weight: b.createVector(new Float32Array(hidden).fill(1)),
      epsilon: 1e-6,
    }));
    const biases = [experts, experts * 2 * inner, experts * hidden].map((length) => {
      const values = random.normals(length, 0.5);
      return pair.each((b) => b.createVector(values));
    });
    for (
      const [count, epilogue] of [[1, "add"], [3, "store"], [8, "add"], [24, "store"], [65, "add"]] as const
    ) {
      const input = pair.activation(hidden, random.normals(count * hidden));
      const output = pair.activation(hidden, random.normals(count * hidden));
      await pair.run(plan(1, tokensOnly(count)), (ops, i) =>
        ops.moe({
          input: input[i]!,
          norm: norm[i]!,
          router: router[i]!,
          gateUp: gateUp[i]!,
          down: down[i]!,
          ...(full
            ? {
              routerBias: biases[0]![i]!,
              gateUpBias: biases[1]![i]!,
              downBias: biases[2]![i]!,
              gate: clamped,
            }
            : {}),
          expertsPerToken: perToken,
          renormalize,
          output: output[i]!,
          epilogue,
        }));
      const error = await pair.error(output, count);
      assert.ok(
        error < tolerances(dtype, Math.min(hidden, inner)),
        `${experts} experts ${dtype}, T=${count}: ${error}`,
      );
    }
  }
}
