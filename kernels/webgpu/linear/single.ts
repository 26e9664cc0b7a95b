// Matrix–vector product for one activation row with weights of four and six bits.
//
// What bounds such a product is not the weights alone: eight numbers of the input are 32 bytes, those of the weight 4.
// So here each lane keeps its columns of the input in registers, whole blocks of 32 of them, and goes through many rows
// of the weight, sixteen bytes a load (`formats/blocks.ts`). The input is read once a workgroup, side by side, normalised
// on the way, and changes hands in workgroup memory.
//
// Grid: one workgroup per `batches × units` output columns. Workgroup: as many threads as a row has blocks, or half as
// many, in whole subgroups; a batch of rows is loaded before the first is used, its sums are added up within a
// subgroup, and those of the subgroups at the end. Layout as in `matvec.ts`. Sums are float32. The norm's factor comes
// last: x / rms(x) · g · w = (Σ x g w) / rms(x). Bound by reading the weights.

import { element, formatFunctions, formats, loadVec, rowVecs, vecHalves } from "../formats/mod.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { plainMain } from "../shader/reduce.ts";
import { divideUp, foldGrid, gridIndex, range, wgsl } from "../shader/wgsl.ts";
import { finishFunction, outputWidth } from "./finish.ts";
import { type LinearRole, type LinearShape, outputKey } from "./linear.ts";
import { fixedSubgroup, foldLanes } from "./matvec.ts";

/** How such a kernel divides its work. */
export interface SingleTile {
  /** Lanes of a subgroup. */
  readonly lanes: number;
  /** Of a workgroup. */
  readonly threads: number;
  /** Blocks of columns of a thread. */
  readonly own: number;
  /** Rows that are loaded at a time, a power of two. */
  readonly rows: number;
  /** How often. */
  readonly batches: number;
}

/** Columns of a block. */
const block = 32;

/** Most threads of a workgroup, and most blocks of a thread: their numbers of the input are registers. */
const mostThreads = 256, mostOwn = 2;

/** Rows at a time (measured: eight, whose registers leave room for fewer workgroups, are slower), and of a workgroup. */
const rowsAtATime = 4, mostRows = 64;

/** Workgroup memory: the input on its way, the sums of rows, and the squares. */
const sharedBytes = (threads: number, subgroups: number, rows: number) =>
  64 * threads + 4 * subgroups * (rows + 1);

/** How to divide a product; null where another kernel must compute it. */
export function singleTile(shape: LinearShape, caps: DeviceCaps): SingleTile | null {
  const { columns, dtype, epilogue, experts } = shape;
  if (caps.software || !fixedSubgroup(caps) || experts !== undefined || epilogue === "cap") return null;
  const rowBytes = rowVecs(dtype, columns) * formats[dtype].vecBytes;
  if (formats[dtype].blocks === undefined || columns % block !== 0 || rowBytes % 16 !== 0) return null;
  const lanes = caps.minSubgroup, count = columns / block;
  const most = Math.floor(Math.min(mostThreads, caps.maxWorkgroupThreads) / lanes) * lanes;
  const own = divideUp(count, most), threads = divideUp(divideUp(count, own), lanes) * lanes;
  if (own > mostOwn || sharedBytes(threads, threads / lanes, mostRows) > caps.maxWorkgroupBytes) return null;
  const units = epilogue === "gate-mul" ? rowsAtATime / 2 : rowsAtATime;
  const wanted = Math.floor(outputWidth(shape) / (units * caps.parallelism));
  return {
    lanes,
    threads,
    own,
    rows: rowsAtATime,
    batches: Math.max(1, Math.min(mostRows / rowsAtATime, wanted)),
  };
}

/** The kernel. */
export function singleCall(shape: LinearShape, tile: SingleTile): KernelCall<LinearRole> {
  const { rows, columns, dtype, normEpsilon, bias, input, output, epilogue } = shape;
  const units = (epilogue === "gate-mul" ? tile.rows / 2 : tile.rows) * tile.batches;
  const count = divideUp(outputWidth(shape), units);
  return kernel({
    key: `single/${rows}x${columns}/${dtype}/norm${normEpsilon}/${input}/${outputKey(shape)}/` +
      `l${tile.lanes}t${tile.threads}x${tile.own}r${tile.rows}b${tile.batches}`,
    buffers: {
      input: read(element(input)),
      weight: read("vec4<u32>"),
      normWeight: normEpsilon !== null && read("vec4<f32>"),
      bias: bias && read("f32"),
      output: write(output),
    },
    workgroups: [...foldGrid(count), 1],
    code: () => singleCode(shape, tile, count),
  });
}

function singleCode(shape: LinearShape, tile: SingleTile, count: number): string {
  const { columns, dtype, input, normEpsilon } = shape;
  const { lanes, threads, own, batches } = tile;
  const norm = normEpsilon !== null, paired = shape.epilogue === "gate-mul";
  const width = outputWidth(shape), perUnit = paired ? 2 : 1, units = tile.rows / perUnit;
  const blocks = formats[dtype].blocks!, subgroups = threads / lanes, count32 = columns / block;
  const rowQuads = rowVecs(dtype, columns) * formats[dtype].vecBytes / 16;
  const guarded = own * threads > count32;
  const x = (j: number) => range(8).map((i) => `x${j}_${i}`);
  const blockOf = (j: number) => `block${j}`;

  // Half a block of every thread at a time: two vecs, which neighbours have fetched.
  const [low, high] = vecHalves(input, "v");
  const fetch = (j: number, half: number, i: number) =>
    wgsl`{
    let n = thread + ${i * threads}u;
    let owner = n >> 1u;
    let vec = (owner + ${j * threads}u) * 4u + ${2 * half}u + (n & 1u);
    var a = vec4<f32>(); var b = vec4<f32>();
    ${guarded && `if (vec < ${columns / 8}u) {`}
      ${loadVec(input, "v", { buffer: "input", row: "0u", vec: "vec", index: "vec" })}
      a = ${low}; b = ${high};
      ${norm && `square += dot(a, a) + dot(b, b);`}
      ${norm && `a *= normWeight[vec * 2u]; b *= normWeight[vec * 2u + 1u];`}
    ${guarded && "}"}
    let turn = (owner >> 1u) & 3u;
    exchange[owner * 4u + (((n & 1u) * 2u) ^ turn)] = a;
    exchange[owner * 4u + (((n & 1u) * 2u + 1u) ^ turn)] = b;
  }`;
  const exchange = range(own).flatMap((j) =>
    range(2).map((half) =>
      wgsl`${j + half > 0 && "workgroupBarrier();"}
  ${range(2).map((i) => fetch(j, half, i))}
  workgroupBarrier();
  ${
        range(4).map((k) =>
          `let x${j}_${4 * half + k} = exchange[thread * 4u + (${k}u ^ ((thread >> 1u) & 3u))];`
        )
      }`
    )
  );

  const rows = range(tile.rows);
  const rowStart = (r: number) => {
    const unit = `min(unit + ${Math.floor(r / perUnit)}u, ${width - 1}u)`;
    return `let row${r} = (${unit}${paired && r % 2 === 1 ? ` + ${width}u` : ""}) * ${rowQuads}u;`;
  };
  const values = rows.map((r) => `sum${r}`);
  const fold = foldLanes(values, lanes);
  const loads = wgsl`${rows.map(rowStart)}
    ${rows.map((r) => range(own).map((j) => blocks.load(`w${r}_${j}`, "weight", `row${r}`, blockOf(j))))}`;
  const products = wgsl`${values.map((value) => `var ${value} = 0.0;`)}
    ${rows.map((r) => range(own).map((j) => blocks.multiply(`w${r}_${j}`, `in${j}`, x(j), values[r]!)))}
    ${fold.code}
    if (lane < ${Math.min(lanes, values.length)}u) {
      let offset = ${fold.offset};
      ${
    range(fold.left).map((v) =>
      `partial[(batch * ${tile.rows}u + offset + ${v}u) * ${subgroups}u + part] = ${values[v]};`
    )
  }
    }`;
  const total = (value: string) =>
    range(subgroups).map((s) => `partial[(${value}) * ${subgroups}u + ${s}u]`).join(" + ");
  return wgsl`var<workgroup> exchange: array<vec4<f32>, ${4 * threads}>;
var<workgroup> partial: array<f32, ${batches * tile.rows * subgroups}>;
${norm && `var<workgroup> squares: array<f32, ${subgroups}>;`}
${formatFunctions([[input, "input", columns]])}
${blocks.functions("weight", columns)}
${finishFunction(shape)}
${plainMain(threads)} {
  let tokens = min(plan[${shape.countWord}], 1u);
  let lane = thread % ${lanes}u;
  let part = thread / ${lanes}u;
  let firstUnit = ${gridIndex(count)} * ${units * batches}u;
  ${
    range(own).map((j) =>
      `let ${blockOf(j)} = ${
        guarded ? `min(thread + ${j * threads}u, ${count32 - 1}u)` : `thread + ${j * threads}u`
      };`
    )
  }
  ${norm && "var square = 0.0;"}
  ${exchange}
  ${norm && `square = subgroupAdd(square); if (lane == 0u) { squares[part] = square; }`}
  ${range(own).map((j) => blocks.prepare(`in${j}`, x(j)))}
  for (var batch = 0u; batch < ${batches}u; batch++) {
    let unit = firstUnit + batch * ${units}u;
    ${loads}
    ${products}
  }
  workgroupBarrier();
  for (var i = thread; i < ${units * batches}u; i += ${threads}u) {
    let column = firstUnit + i;
    if (tokens > 0u && column < ${width}u) {
      ${
    norm && `let scale = inverseSqrt((${
      range(subgroups).map((s) => `squares[${s}]`).join(" + ")
    }) / ${columns}.0 + ${normEpsilon});`
  }
      ${
    paired
      ? `finish(0u, column, (${total("2u * i")})${norm ? " * scale" : ""}, (${total("2u * i + 1u")})${
        norm ? " * scale" : ""
      });`
      : `finish(0u, column, (${total("i")})${norm ? " * scale" : ""});`
  }
    }
  }
}`;
}
