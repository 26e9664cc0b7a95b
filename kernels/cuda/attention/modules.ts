// The modules that the attention kernels are compiled to, by the type of keys and values.

import type { ModuleSpec } from "../gemm/launch.ts";

/** Decode and prefill attention. */
export const attentionModules: readonly ModuleSpec[] = (["bf16", "f16"] as const).flatMap(
  (element): ModuleSpec[] => {
    const ELEMENT = element === "bf16" ? "Bf16" : "F16";
    return [
      {
        name: `decode_${element}`,
        source: "attention/decode.cu",
        architecture: "compute_80",
        defines: { ELEMENT },
      },
      {
        name: `prefill_${element}`,
        source: "attention/prefill.cu",
        architecture: "compute_80",
        defines: { ELEMENT },
      },
    ];
  },
);
