// The modules that the products' sources are compiled to. A model needs those of its own element type only.

import { type ModuleSpec, withOverlap } from "./launch.ts";

/** Products and the preparation of their input. */
export const productModules: readonly ModuleSpec[] = (["bf16", "f16"] as const).flatMap(
  (element): ModuleSpec[] => {
    const ELEMENT = element === "bf16" ? "Bf16" : "F16";
    const plain = (name: string, source: string, defines = {}) =>
      withOverlap({
        name: `${name}_${element}`,
        source,
        architecture: "compute_80",
        defines: { ELEMENT, ...defines },
      });
    const hopper = (name: string, source: string): ModuleSpec => ({
      name: `${name}_${element}`,
      source,
      architecture: "compute_90a",
      defines: { ELEMENT },
    });
    return [
      ...plain("mma", "gemm/mma.cu", { WEIGHTS: 0 }),
      ...plain("mma_q8", "gemm/mma.cu", { WEIGHTS: 1 }),
      ...plain("mma_planes", "gemm/mma.cu", { WEIGHTS: 2 }),
      ...plain("prepare", "gemm/prepare.cu"),
      ...plain("expand", "gemm/expand.cu"),
      hopper("wide", "gemm/wide.cu"),
      hopper("narrow", "gemm/narrow.cu"),
    ];
  },
);
