// The modules that the attention kernels are compiled to, by the type of keys and values.

import { type ModuleSpec, withOverlap } from "../gemm/launch.ts";

/** Decode and prefill attention; with "scores", also of models that cap them or have sinks. */
export const attentionModules: readonly ModuleSpec[] = (["bf16", "f16", "int8"] as const).flatMap(
  (element): ModuleSpec[] => {
    const int8 = element === "int8";
    // Bytes become float16.
    const defines = { ELEMENT: element === "bf16" ? "Bf16" : "F16", ...int8 ? { INT8: "1" } : {} };
    const scores = { ...defines, SCORES: "1" };
    const plain = (name: string, suffix = "", macros: Readonly<Record<string, string>> = defines) =>
      withOverlap({
        name: `${name}${suffix}_${element}`,
        source: `attention/${int8 && name === "decode" ? "decode_int8" : name}.cu`,
        architecture: "compute_80",
        defines: macros,
      });
    const wide = (suffix: string, macros: Readonly<Record<string, string>>): ModuleSpec => ({
      name: `prefill_wide${suffix}_${element}`,
      source: "attention/prefill_wide.cu",
      architecture: "compute_90a",
      defines: macros,
    });
    return [
      ...plain("decode"),
      ...plain("prefill"),
      ...plain("prefill", "_scores", scores),
      wide("", defines),
      wide("_scores", scores),
    ];
  },
);
