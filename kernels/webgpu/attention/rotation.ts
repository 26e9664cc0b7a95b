// Norm (Qwen3) and rotary positions (Su et al. 2021, arXiv 2104.09864) of a head of q or k, in WGSL. Where a step
// computes one token of each sequence, `own_token.ts` does it inside decode attention, else `rope_store.ts` on its own.
//
// A head belongs to a group of neighbouring lanes. Lane i holds elements 4i … 4i + 3 and their partners half a head
// further, 16 bytes a load; a head of more than four times as many pairs as lanes takes several chunks. The shader has
// `token`, `position`, and for each chunk c `chunk{c}`: the number of the lane's four elements.

import type { HeadLayout } from "../../ops.ts";
import { type ElementType, read } from "../shader/kernel.ts";
import { float, load, range, wgsl } from "../shader/wgsl.ts";
import type { HeadNorms } from "./shape.ts";
import type { HeadLanes } from "./tuning.ts";

/** What heads are rotated. */
export interface RotatedHeads extends HeadLanes {
  /** Of this rank. */
  readonly heads: HeadLayout;
  /** Type of q|k|v. */
  readonly qkv: ElementType;
  /** Epsilons of the norms in front. */
  readonly norms: HeadNorms;
}

/** WGSL condition under which chunk c is a part of the head; null where it always is. */
export function inHead({ lanes, heads: { headDim } }: RotatedHeads, c: number): string | null {
  return (c + 1) * lanes > headDim / 8 ? `part + ${c * lanes}u < ${headDim / 8}u` : null;
}

/** Statements, only run where chunk c is a part of the head. */
export function guarded(rotated: RotatedHeads, c: number, statements: string): string {
  const condition = inHead(rotated, c);
  return condition === null ? statements : `if (${condition}) {\n${statements}\n}`;
}

/** Declares the variables of head `r` of a lane. */
export function declareHead({ chunks, norms }: RotatedHeads, r: number): string {
  const normed = norms.qNorm !== null || norms.kNorm !== null;
  const names = ["x", "y", "cos", "sin", ...(normed ? ["wx", "wy"] : [])];
  return wgsl`${range(chunks).map((c) => names.map((name) => `var ${name}${r}_${c} = vec4<f32>(0.0);`))}`;
}

/** Loads head `source` of [q | k | v] into them; `isQuery` says in WGSL whose norm it goes through. */
export function loadHead(
  { chunks, norms, heads, qkv }: RotatedHeads,
  r: number,
  source: string,
  isQuery: string,
): string {
  const quads = heads.headDim / 4;
  const normed = norms.qNorm !== null || norms.kNorm !== null;
  const weight = (at: string) => {
    const of = (epsilon: number | null, name: string) =>
      epsilon === null ? "vec4<f32>(1.0)" : `${name}[${at}]`;
    return `select(${of(norms.kNorm, "kNorm")}, ${of(norms.qNorm, "qNorm")}, ${isQuery})`;
  };
  return wgsl`${
    range(chunks).map((c) => {
      const angle = `position * ${quads / 2}u + chunk${c}`;
      return wgsl`let at${c} = (token * ${
        heads.numHeads + 2 * heads.numKvHeads
      }u + ${source}) * ${quads}u + chunk${c};
    x${r}_${c} = ${load(qkv, `qkv[at${c}]`, 4)};
    y${r}_${c} = ${load(qkv, `qkv[at${c} + ${quads / 2}u]`, 4)};
    cos${r}_${c} = cosine[${angle}];
    sin${r}_${c} = sine[${angle}];
    ${
        normed && `wx${r}_${c} = ${weight(`chunk${c}`)};
    wy${r}_${c} = ${weight(`chunk${c} + ${quads / 2}u`)};`
      }`;
    })
  }`;
}

/**
 * Normalises and rotates head `r`: `left{c}` and `right{c}` are the results, in its first and its second half. A head
 * of v, for which `isValue` holds, stays as it is.
 */
export function rotateHead(rotated: RotatedHeads, r: number, isQuery: string, isValue: string): string {
  const { lanes, chunks, norms, heads } = rotated;
  const C = range(chunks);
  const normed = norms.qNorm !== null || norms.kNorm !== null;
  const factor = (epsilon: number | null) =>
    epsilon === null ? "1.0" : `inverseSqrt(mean + ${float(epsilon)})`;
  const squares = C.map((c) => {
    const value = `dot(x${r}_${c}, x${r}_${c}) + dot(y${r}_${c}, y${r}_${c})`;
    const condition = inHead(rotated, c);
    return condition === null ? value : `select(0.0, ${value}, ${condition})`;
  }).join(" + ");
  return wgsl`${
    normed && wgsl`    var squares = ${squares};
${range(Math.log2(lanes)).map((step) => `    squares += subgroupShuffleXor(squares, ${1 << step}u);`)}
    let mean = squares / ${float(heads.headDim)};
    let scale = select(${factor(norms.kNorm)}, ${factor(norms.qNorm)}, ${isQuery});`
  }
    let isValue = ${isValue};
${
    C.map((c) => {
      const [x, y] = ["x", "y"].map((name) =>
        normed ? `(scale * w${name}${r}_${c} * ${name}${r}_${c})` : `${name}${r}_${c}`
      );
      return `    let left${c} = select(${x} * cos${r}_${c} - ${y} * sin${r}_${c}, x${r}_${c}, isValue);
    let right${c} = select(${y} * cos${r}_${c} + ${x} * sin${r}_${c}, y${r}_${c}, isValue);`;
    })
  }`;
}

/**
 * After {@link rotateHead}: the `largest` of the head's numbers, for the scale of an eight-bit cache, and its `inverse`.
 * NaN is the largest of all: the bits of numbers without a sign are in the order of the numbers, with NaN on top.
 */
export function largestOfHead({ lanes, chunks }: RotatedHeads): string {
  const bits = range(chunks).flatMap((c) =>
    ["left", "right"].map((name) => `bitcast<vec4<u32>>(abs(${name}${c}))`)
  );
  return wgsl`let most = ${bits.reduce((a, b) => `max(${a}, ${b})`)};
    var largestBits = max(max(most.x, most.y), max(most.z, most.w));
    ${
    range(Math.log2(lanes)).map((step) =>
      `largestBits = max(largestBits, subgroupShuffleXor(largestBits, ${1 << step}u));`
    )
  }
    let largest = bitcast<f32>(largestBits);
    let inverse = select(0.0, 1.0 / largest, largest > 1e-30);`;
}

/** The buffers of angles and norms. */
export function rotationBuffers({ qNorm, kNorm }: HeadNorms) {
  return {
    cosine: read("vec4<f32>"),
    sine: read("vec4<f32>"),
    qNorm: qNorm !== null && read("vec4<f32>"),
    kNorm: kNorm !== null && read("vec4<f32>"),
  };
}
