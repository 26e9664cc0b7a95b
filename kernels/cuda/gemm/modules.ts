// The modules that the products' sources are compiled to. A model needs those of its own element type only.

import type { ModuleSpec } from "./launch.ts";

/** Products and the preparation of their input. */
export const productModules: readonly ModuleSpec[] = (["bf16", "f16"] as const).flatMap(
  (element): ModuleSpec[] => {
    const ELEMENT = element === "bf16" ? "Bf16" : "F16";
    return [
      {
        name: `mma_${element}`,
        source: "gemm/mma.cu",
        architecture: "compute_80",
        defines: { ELEMENT, WEIGHT_Q8: 0 },
      },
      {
        name: `mma_q8_${element}`,
        source: "gemm/mma.cu",
        architecture: "compute_80",
        defines: { ELEMENT, WEIGHT_Q8: 1 },
      },
      {
        name: `wide_${element}`,
        source: "gemm/wide.cu",
        architecture: "compute_90a",
        defines: { ELEMENT },
      },
      {
        name: `narrow_${element}`,
        source: "gemm/narrow.cu",
        architecture: "compute_90a",
        defines: { ELEMENT },
      },
      {
        name: `prepare_${element}`,
        source: "gemm/prepare.cu",
        architecture: "compute_80",
        defines: { ELEMENT },
      },
    ];
  },
);
