// The modules that the attention kernels are compiled to, by the type of keys and values.

import { type ModuleSpec, withOverlap } from "../gemm/launch.ts";

/** Decode and prefill attention. */
export const attentionModules: readonly ModuleSpec[] = (["bf16", "f16"] as const).flatMap(
  (element): ModuleSpec[] => {
    const defines = { ELEMENT: element === "bf16" ? "Bf16" : "F16" };
    const plain = (name: string) =>
      withOverlap({
        name: `${name}_${element}`,
        source: `attention/${name}.cu`,
        architecture: "compute_80",
        defines,
      });
    return [
      ...plain("decode"),
      ...plain("prefill"),
      {
        name: `prefill_wide_${element}`,
        source: "attention/prefill_wide.cu",
        architecture: "compute_90a",
        defines,
      },
    ];
  },
);
