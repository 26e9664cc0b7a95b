// Matrix–vector product for 1, 2, 4 or 8 activation rows, with the RMS norm in front and the epilogue behind.
//
// Grid: one workgroup per `groups × rowsPerGroup` rows of the weight (or gate/up pairs). Workgroup: `groups` lane
// groups, each a subgroup that owns `rowsPerGroup` rows and walks the sum with 16-byte loads, its lanes side by side,
// so a load is contiguous. `split` lane groups may share one set of rows and meet in workgroup memory, for matrices
// with too few rows to fill the device.
// Layout: weight [rows, columns] row-major, activations [tokens, columns].
// Sums are float32. The norm costs no pass of its own: x / rms(x) · g · w = (Σ x g w) / rms(x), and Σ x² is summed
// beside the products, since every lane group reads the whole x anyway.
// Bound by: memory bandwidth; from about 6 rows on, by arithmetic. One kernel per number of columns follows
// llama.cpp's Vulkan back end (mul_mat_vec).

import type { DeviceCaps, KernelCall } from "../kernel.ts";
import type { LinearRole, LinearShape } from "./linear.ts";
import {
  declareBuffers,
  finishFunction,
  foldGrid,
  gridIndex,
  loadOctet,
  octetHalves,
  octets,
  outputWidth,
  repeat,
  unpackFunctions,
} from "./wgsl.ts";

/** How a matrix–vector kernel divides its work. */
export interface MatvecTile {
  /** Activation rows it computes: 1, 2, 4 or 8. */
  readonly tokens: number;
  /** Lanes of a lane group: the subgroup's size, or any power of two where that is not fixed. */
  readonly lanes: number;
  /** Whether a lane group is exactly a subgroup; otherwise its sums meet in workgroup memory. */
  readonly subgroups: boolean;
  /** Output columns (rows, or gate/up pairs) per lane group. */
  readonly unitsPerGroup: number;
  /** Sets of rows per workgroup. */
  readonly groups: number;
  /** Lane groups that share one set of rows. */
  readonly split: number;
  /** Octets a lane loads before it uses the first. */
  readonly unroll: number;
}

/** Whether lanes of a subgroup can be counted on when the shader is written. */
export function fixedSubgroup(caps: DeviceCaps): boolean {
  return caps.minSubgroup === caps.maxSubgroup && caps.minSubgroup >= 4;
}

/** The kernel for `tile.tokens` activation rows or fewer. */
export function matvecCall(shape: LinearShape, tile: MatvecTile): KernelCall<LinearRole> {
  const norm = shape.normEpsilon !== null;
  const bindings: LinearRole[] = ["input", "weight"];
  if (norm) bindings.push("normWeight");
  if (shape.bias) bindings.push("bias");
  bindings.push("output");
  const width = outputWidth(shape);
  const count = Math.ceil(width / (tile.unitsPerGroup * tile.groups));
  const key = [
    "matvec",
    `${shape.rows}x${shape.columns}`,
    shape.dtype,
    shape.epilogue,
    norm ? `norm${shape.normEpsilon}` : "plain",
    shape.bias ? "bias" : "",
    `${shape.input}-${shape.output}`,
    `s${shape.outputStride}+${shape.outputOffset}`,
    `n${shape.countWord}`,
    `t${tile.tokens}l${tile.lanes}${tile.subgroups ? "s" : "w"}r${tile.unitsPerGroup}g${tile.groups}`,
    `k${tile.split}u${tile.unroll}`,
  ].join("/");
  return {
    source: {
      key,
      code: () => matvecCode(shape, tile, count),
      access: bindings.map((role) => role === "output" ? "read_write" : "read"),
    },
    bindings,
    workgroups: [...foldGrid(count), 1],
  };
}

function matvecCode(shape: LinearShape, tile: MatvecTile, count: number): string {
  const { columns, dtype, input } = shape;
  const { tokens, lanes, unitsPerGroup, groups, split, unroll } = tile;
  const norm = shape.normEpsilon !== null;
  const paired = shape.epilogue === "silu-mul";
  const width = outputWidth(shape);
  const rows = paired ? 2 * unitsPerGroup : unitsPerGroup;
  const octetsPerRow = columns / 8;
  const stride = lanes * split;
  const threads = stride * groups;
  const inputType = input === "f16" ? "f16" as const : "f32" as const;
  // With float32 the first and the second half of an octet are two loads apart.
  const rowOctets = (row: number) =>
    paired
      ? `min(unit + ${row >> 1}u, ${width - 1}u) + ${(row & 1) * width}u`
      : `min(unit + ${row}u, ${width - 1}u)`;

  /** Products of the octets numbered `at + u·stride` for u < depth. */
  const block = (at: string, depth: number, guarded: boolean): string => {
    const step = (u: number) => `${at} + ${u * stride}u`;
    const body = (u: number) => `
    { ${norm ? loadOctet("f32", "normWeight", "g", step(u)) : ""}
    ${
      repeat(rows, (r) =>
        `let wl${r} = ${octetHalves(dtype, `w${u}_${r}`)[0]}; let wh${r} = ${
          octetHalves(dtype, `w${u}_${r}`)[1]
        };`)
    }
    ${
      repeat(tokens, (t) => {
        const [low, high] = octetHalves(inputType, `x${t}`);
        return `{ ${loadOctet(inputType, "input", `x${t}`, `token${t} + ${step(u)}`)}
      ${
          norm
            ? `let rl = ${low}; let rh = ${high}; squares${t} += dot(rl, rl) + dot(rh, rh); let xl = rl * g_0; let xh = rh * g_1;`
            : `let xl = ${low}; let xh = ${high};`
        }
      ${repeat(rows, (r) => `sum${r}_${t} += dot(wl${r}, xl) + dot(wh${r}, xh);`)} }`;
      })
    } }`;
    const loads = (u: number) =>
      repeat(rows, (r) => loadOctet(dtype, "weight", `w${u}_${r}`, `row${r} + ${step(u)}`));
    if (guarded) return `if (${at} < ${octetsPerRow}u) { ${loads(0)} ${body(0)} }`;
    return `${repeat(depth, loads)}\n${repeat(depth, body)}`;
  };

  const perLane = Math.floor(octetsPerRow / stride);
  const blocks = Math.floor(perLane / unroll);
  const rest = perLane - blocks * unroll;
  const tail = octetsPerRow % stride !== 0;
  const loop = blocks > 1
    ? `for (var k = first; k < ${blocks * unroll * stride}u; k += ${unroll * stride}u) { ${
      block("k", unroll, false)
    } }`
    : blocks === 1
    ? `{ ${block("first", unroll, false)} }`
    : "";
  const after = rest > 0 ? `{ ${block(`first + ${blocks * unroll * stride}u`, rest, false)} }` : "";
  const last = tail ? `{ let k = first + ${perLane * stride}u; ${block("k", 1, true)} }` : "";

  const values = [
    ...Array.from({ length: rows * tokens }, (_, i) => `sum${Math.floor(i / tokens)}_${i % tokens}`),
    ...(norm ? Array.from({ length: tokens }, (_, t) => `squares${t}`) : []),
  ];
  const shared = !tile.subgroups || split > 1;
  // Without fixed subgroups every lane leaves its sums in workgroup memory; with them, one lane per subgroup does.
  const parts = tile.subgroups ? split : stride;
  const reduction = [
    ...(tile.subgroups ? values.map((value) => `${value} = subgroupAdd(${value});`) : []),
    ...(shared
      ? [
        tile.subgroups ? "if (lane == 0u) {" : "{",
        ...values.map((value, i) =>
          `partial[(team * ${values.length}u + ${i}u) * ${parts}u + part] = ${value};`
        ),
        "}",
        "workgroupBarrier();",
        "if (within == 0u) {",
        ...values.map((value) => `${value} = 0.0;`),
        `for (var p = 0u; p < ${parts}u; p++) {`,
        ...values.map((value, i) =>
          `${value} += partial[(team * ${values.length}u + ${i}u) * ${parts}u + p];`
        ),
        "} }",
      ]
      : []),
  ].join("\n");

  const result = (r: number, t: number) => norm ? `sum${r}_${t} * scale${t}` : `sum${r}_${t}`;
  return `${inputType === "f16" || shape.output === "f16" ? "enable f16;" : ""}
${
    declareBuffers([
      { name: "input", element: octets(inputType).element },
      { name: "weight", element: octets(dtype).element },
      ...(norm ? [{ name: "normWeight", element: "vec4<f32>" }] : []),
      ...(shape.bias ? [{ name: "bias", element: "f32" }] : []),
      { name: "output", element: shape.output, write: true },
    ])
  }
${shared ? `var<workgroup> partial: array<f32, ${groups * values.length * parts}>;` : ""}
${unpackFunctions([dtype, inputType])}
${finishFunction(shape)}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tokens = plan[${shape.countWord}];
  let team = thread / ${stride}u;
  let within = thread % ${stride}u;
  ${tile.subgroups ? `let lane = within % ${lanes}u; let part = within / ${lanes}u;` : "let part = within;"}
  let unit = (${gridIndex(count)} * ${groups}u + team) * ${unitsPerGroup}u;
  let first = within;
  ${repeat(rows, (r) => `let row${r} = (${rowOctets(r)}) * ${octetsPerRow}u;`)}
  ${
    repeat(tokens, (t) =>
      `let token${t} = ${t === 0 ? "0u" : `min(${t}u, max(tokens, 1u) - 1u) * ${octetsPerRow}u`};`)
  }
  ${values.map((value) => `var ${value} = 0.0;`).join("\n")}
  ${loop}
  ${after}
  ${last}
  ${reduction}
  if (within == 0u) {
    ${
    norm
      ? repeat(
        tokens,
        (t) => `let scale${t} = inverseSqrt(squares${t} / ${columns}.0 + ${shape.normEpsilon});`,
      )
      : ""
  }
    ${
    repeat(unitsPerGroup, (u) =>
      `if (unit + ${u}u < ${width}u) { ${
        repeat(tokens, (t) =>
          `if (${t}u < tokens) { finish(${t}u, unit + ${u}u, ${
            paired ? `${result(2 * u, t)}, ${result(2 * u + 1, t)}` : result(u, t)
          }); }`)
      } }`)
  }
  }
}
`;
}
