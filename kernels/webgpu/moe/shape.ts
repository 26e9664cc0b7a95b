// What the kernels of a mixture of experts have in common. A pair is one of a token's chosen experts: number
// token · expertsPerToken + rank.

import type { DType } from "../../formats/mod.ts";
import type { ElementType } from "../shader/kernel.ts";

/** One of an expert's two products: gate/up with SiLU·mul (paired rows), or down. */
export interface ExpertProduct {
  /** Which of the two. */
  readonly kind: "gate-up" | "down";
  /** Output features: F for gate-up, H for down. */
  readonly width: number;
  /** Input features. */
  readonly columns: number;
  /** Type of the weights. */
  readonly dtype: DType;
  /** Experts that a token goes through. */
  readonly expertsPerToken: number;
  /** Experts of the part of the matrix that is bound. */
  readonly firstExpert: number;
  /** How many experts are bound. */
  readonly experts: number;
  /** Of the result, when it is the layer's output. */
  readonly output: ElementType;
}

/** Part of the pipeline key. */
export const productKey = (p: ExpertProduct): string =>
  `${p.kind} ${p.width}x${p.columns} ${p.dtype} k${p.expertsPerToken} e${p.firstExpert}+${p.experts} ${p.output}`;
