// The part of decode attention that deals with the query's own token: norms of q and k (Qwen3), rotary positions (Su
// et al. 2021, arXiv 2104.09864), and the store of k and v. A dispatch of its own for these would take longer to
// start than to run.
//
// Each gang of lanes takes one head of q, k or v: lane i holds elements 4i … 4i + 3 and the partners half a head
// further, 16 bytes a load. What comes out goes to all gangs through workgroup memory. The loads are issued before
// those of the cached keys, the rest happens while these are on their way. The own key and value never come from the
// cache, where another workgroup may be writing them: in the workgroup whose keys end with the own one the last gang,
// which was spared the rotation, begins its softmax with it, rounded as the cache holds it.

import { type Binding, divideUp, float, input, lines, range } from "../shader/wgsl.ts";
import { octetHalf } from "./cache.ts";
import { type AttentionShape, type HeadNorms, loadQuad } from "./shape.ts";
import type { Tuning } from "./tuning.ts";

/** Buffers that the norms and the rotation add to the kernel's. */
export type OwnTokenRole = "cosine" | "sine" | "qNorm" | "kNorm";

/** Their roles and bindings, in order. */
export function ownTokenBindings(
  { qNorm, kNorm }: HeadNorms,
): { readonly roles: readonly OwnTokenRole[]; readonly bindings: readonly Binding[] } {
  const roles: OwnTokenRole[] = ["cosine", "sine"];
  if (qNorm !== null) roles.push("qNorm");
  if (kNorm !== null) roles.push("kNorm");
  return { roles, bindings: roles.map((role) => input(role, "array<vec4<f32>>")) };
}

/** Pieces of WGSL for `decode.ts`, in the order in which they stand there. */
export interface OwnTokenCode {
  /** Workgroup memory. */
  readonly declarations: string;
  /** Loads of all that is needed. */
  readonly loads: string;
  /** Norms and rotation, up to the barrier after which every gang can read the queries. */
  readonly rotation: string;
  /** Elements 4 · quad … of head h of the block. */
  readonly query: (h: number, quad: string) => string;
  /** Store of k and v, and the softmax after the own key; sets `m`, `l` and `o` of all heads. */
  readonly begin: string;
}

/** WGSL for a block of heads, over what `decode.ts` has declared. */
export function ownToken(shape: AttentionShape, norms: HeadNorms, tuning: Tuning): OwnTokenCode {
  const { heads: { numHeads, numKvHeads, headDim } } = shape;
  const { lanes, chunks, headBlock, threads } = tuning;
  const quads = headDim / 4, octets = headDim / 8;
  const gangs = threads / lanes;
  const blocks = divideUp(numHeads / numKvHeads, headBlock);
  // The block's heads of q, then k, then v; where there are fewer gangs they take several each.
  const R = range(divideUp(headBlock + 2, gangs)), C = range(chunks), H = range(headBlock);
  const inHead = (c: number) => (c + 1) * lanes > octets ? `part + ${c * lanes}u < ${octets}u` : null;
  const guarded = (c: number, statements: string) => {
    const condition = inHead(c);
    return condition === null ? statements : `    if (${condition}) {\n${statements}\n    }`;
  };
  const only = (c: number, value: string) => {
    const condition = inHead(c);
    return condition === null ? value : `select(0.0, ${value}, ${condition})`;
  };
  const normed = norms.qNorm !== null || norms.kNorm !== null;
  const weight = (r: number, at: string) => {
    const of = (epsilon: number | null, name: string) =>
      epsilon === null ? "vec4<f32>(1.0)" : `${name}[${at}]`;
    return `select(${of(norms.kNorm, "kNorm")}, ${of(norms.qNorm, "qNorm")}, isQuery${r})`;
  };
  const factor = (epsilon: number | null) =>
    epsilon === null ? "1.0" : `inverseSqrt(mean + ${float(epsilon)})`;
  const declared = (r: number) =>
    lines(
      C.flatMap((c) =>
        ["x", "y", "cos", "sin", ...(normed ? ["wx", "wy"] : [])].map((name) =>
          `  var ${name}${r}_${c} = vec4<f32>(0.0);`
        )
      ),
    );
  const loads = lines(R.map((r) =>
    `  let task${r} = thread / ${lanes}u + ${r * gangs}u;
  let isQuery${r} = task${r} < ${headBlock}u;
${declared(r)}
  if (task${r} < ${headBlock + 2}u) {
    let source = select(${numHeads}u + kvHead + (task${r} - ${headBlock}u) * ${numKvHeads}u, head + task${r}, isQuery${r});
${
      lines(C.map((c) => {
        const angle = `position * ${quads / 2}u + chunk${c}`;
        return `    let at${c} = (token * ${numHeads + 2 * numKvHeads}u + source) * ${quads}u + chunk${c};
    x${r}_${c} = ${loadQuad(shape, `at${c}`)};
    y${r}_${c} = ${loadQuad(shape, `at${c} + ${quads / 2}u`)};
    cos${r}_${c} = cosine[${angle}];
    sin${r}_${c} = sine[${angle}];
${
          normed
            ? `    wx${r}_${c} = ${weight(r, `chunk${c}`)};
    wy${r}_${c} = ${weight(r, `chunk${c} + ${quads / 2}u`)};`
            : ""
        }`;
      }))
    }
  }`
  ));
  const norm = (r: number) => {
    const squares = C.map((c) => only(c, `dot(x${r}_${c}, x${r}_${c}) + dot(y${r}_${c}, y${r}_${c})`)).join(
      " + ",
    );
    const steps = lines(
      range(Math.log2(lanes)).map((step) => `    squares += subgroupShuffleXor(squares, ${1 << step}u);`),
    );
    return `    var squares = ${squares};
${steps}
    let mean = squares / ${float(headDim)};
    let scale = select(${factor(norms.kNorm)}, ${factor(norms.qNorm)}, isQuery${r});`;
  };
  const rotation = lines(R.map((r) =>
    `  if (task${r} < ${headBlock + 2}u) {
${normed ? norm(r) : ""}
    let isValue = task${r} == ${headBlock + 1}u;
${
      lines(C.map((c) => {
        const [x, y] = ["x", "y"].map((name) =>
          normed ? `(scale * w${name}${r}_${c} * ${name}${r}_${c})` : `${name}${r}_${c}`
        );
        return `    let left${c} = select(${x} * cos${r}_${c} - ${y} * sin${r}_${c}, x${r}_${c}, isValue);
    let right${c} = select(${y} * cos${r}_${c} + ${x} * sin${r}_${c}, y${r}_${c}, isValue);
${
          guarded(
            c,
            `    if (isQuery${r}) {
      let place = task${r} * ${quads}u + chunk${c};
      queries[place] = left${c};
      queries[place + ${quads / 2}u] = right${c};
    } else {
      let place = (task${r} - ${headBlock}u) * ${quads}u + chunk${c};
      own[place] = vec2<u32>(pack2x16float(left${c}.xy), pack2x16float(left${c}.zw));
      own[place + ${quads / 2}u] = vec2<u32>(pack2x16float(right${c}.xy), pack2x16float(right${c}.zw));
    }`,
          )
        }`;
      }))
    }
  }`
  ));
  const octet = (from: number, c: number) =>
    `vec4<u32>(own[${from}u + 2u * chunk${c}], own[${from + 1}u + 2u * chunk${c}])`;
  const stores = lines(
    C.map((c) =>
      guarded(c, `    keys[ownSlot + chunk${c}] = k${c};\n    values[ownSlot + chunk${c}] = v${c};`)
    ),
  );
  return {
    declarations: `var<workgroup> queries: array<vec4<f32>, ${headBlock * quads}>;
// The own key and value, in f16.
var<workgroup> own: array<vec2<u32>, ${2 * quads}>;`,
    loads: `${loads}
  let ownSlot = slotOf(row, position, kvHead) >> 3u;`,
    rotation: `${rotation}
  workgroupBarrier();`,
    query: (h, quad) => `queries[${h * quads}u + ${quad}]`,
    begin: `  if (position < first + splitKeys && thread >= ${threads - lanes}u) {
${lines(C.map((c) => `    let k${c} = ${octet(0, c)};\n    let v${c} = ${octet(quads, c)};`))}
${blocks > 1 ? `    if (group.y % ${blocks}u == 0u) {\n${stores}\n    }` : stores}
${
      lines(C.flatMap((c) =>
        (["a", "b"] as const).map((side, half) =>
          `    let k${c}${side} = ${octetHalf(`k${c}`, half as 0 | 1)};
    let v${c}${side} = ${octetHalf(`v${c}`, half as 0 | 1)};`
        )
      ))
    }
${
      lines(H.flatMap((h) => [
        `    m${h} = ${C.map((c) => `dot(q${h}_${c}a, k${c}a) + dot(q${h}_${c}b, k${c}b)`).join(" + ")};`,
        ...range(Math.log2(lanes)).map((step) => `    m${h} += subgroupShuffleXor(m${h}, ${1 << step}u);`),
        `    l${h} = 1.0;`,
        ...C.flatMap((c) => ["a", "b"].map((side) => `    o${h}_${c}${side} = v${c}${side};`)),
      ]))
    }
  }`,
  };
}
