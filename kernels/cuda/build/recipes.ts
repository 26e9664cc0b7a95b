// What each PTX module is compiled from; `build.ts` writes the results and the list of them, `modules.ts`.

import { attentionModules } from "../attention/modules.ts";
import { productModules } from "../gemm/modules.ts";

/** One compilation. */
export interface Recipe {
  /** Under `kernels/cuda/`. */
  readonly source: string;
  /** Macros. */
  readonly defines?: Readonly<Record<string, string | number>>;
  /** Compute capability that it needs; "80" where nothing is said. */
  readonly architecture?: Architecture;
}

/** Compute capability, "a" with what only that one has. */
export type Architecture = "80" | "90" | "90a";

const kinds = ["bf16", "f16", "q8"] as const, planes = ["q4_0", "q4_1", "q4_k", "q6_k"] as const;

const each = <T extends string>(values: readonly T[], make: (value: T) => [string, Recipe]) =>
  Object.fromEntries(values.map(make));

/**
 * Keys and values are f16 or int8, quantized weights are expanded to bf16, and inputs are prepared by `linear/prepare.cu`. What compute
 * capability 9.0 has better kernels for needs no build of its own for it.
 */
function isUsed(name: string): boolean {
  return !/^prepare_|^(decode|prefill|prefill_wide)(_scores)?_bf16|^(mma_q8|mma_planes|expand)_f16|^prefill_int8|^(prefill_.*|mma_b?f16)_sm90$/
    .test(name);
}

/** Modules whose kernels may begin before the kernel in front of them has ended, on compute capability 9.0. */
const overlapping: Readonly<Record<string, Recipe>> = {
  embed: { source: "embed/embed.cu" },
  prepare: { source: "linear/prepare.cu" },
  rope: { source: "attention/rope.cu" },
  rope_int8: { source: "attention/rope.cu", defines: { INT8: "1" } },
  merge: { source: "attention/merge.cu" },
  peers: { source: "peers/peers.cu" },
  moe: { source: "moe/moe.cu" },
  sample: { source: "sample/sample.cu" },
  ...each(["4", "8", "16", "32"], (lanes) => [
    `attention_${lanes}`,
    { source: "attention/plain.cu", defines: { LANES: lanes } },
  ]),
  ...each(["4", "8", "16", "32"], (lanes) => [
    `own_${lanes}`,
    { source: "attention/own.cu", defines: { LANES: lanes } },
  ]),
  ...each(["f32", ...kinds, ...planes], (kind) => [
    `plain_${kind}`,
    { source: "linear/plain.cu", defines: { KIND: kind.toUpperCase() } },
  ]),
  ...each(["q8", ...planes], (kind) => [
    `quantized_${kind}`,
    { source: "linear/quantized.cu", defines: { KIND: kind.toUpperCase() } },
  ]),
  ...each(["q8", ...planes], (kind) => [
    `stream_${kind}`,
    { source: "linear/stream.cu", defines: { KIND: kind.toUpperCase() } },
  ]),
  ...each(kinds, (kind) => [
    `rows_${kind}`,
    {
      source: "linear/rows.cu",
      // As below: not of f16.
      defines: { KIND: kind.toUpperCase(), ...kind === "f16" ? {} : { WITH_NORM: "1" } },
    },
  ]),
  ...each(
    ["bf16", "f16"].flatMap((kind) => ["16", "32", "64"].map((rows) => `${kind}_${rows}`)),
    (name) => {
      const [kind, rows] = name.split("_") as [string, string];
      return [`skinny_${name}`, {
        source: "linear/skinny.cu",
        // Products with a norm would overflow f16 before they are scaled.
        defines: {
          KIND: kind.toUpperCase(),
          ROWS: rows,
          ...rows === "16" && kind === "bf16" ? { NORM: "1" } : {},
        },
      }];
    },
  ),
};

/** Modules that also later GPUs take in the build for compute capability 8.0, whose kernels begin one after the other. */
const plain: Readonly<Record<string, Recipe>> = Object.fromEntries(
  ["8", "16", "32"].flatMap((lanes) =>
    ([["attention", "plain"], ["own", "own"]] as const).map(([name, file]) => [
      `${name}_${lanes}_int8`,
      { source: `attention/${file}.cu`, defines: { LANES: lanes, INT8: "1" } },
    ])
  ),
);

/** By module. */
export const recipes: Readonly<Record<string, Recipe>> = {
  ...Object.fromEntries(
    [...productModules, ...attentionModules].filter(({ name }) => isUsed(name)).map((
      { name, source, architecture, defines },
    ) => [
      name,
      { source, architecture: architecture.slice("compute_".length) as Architecture, defines },
    ]),
  ),
  ...plain,
  ...overlapping,
  ...Object.fromEntries(
    Object.entries(overlapping).map(([name, recipe]) => [`${name}_sm90`, { ...recipe, architecture: "90" }]),
  ),
};
