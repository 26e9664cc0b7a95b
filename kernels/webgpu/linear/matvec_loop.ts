// The loop of a matrix–vector kernel (`matvec.ts`): a lane loads some vecs of its rows, then multiplies them with every
// activation row.

import { loadVec, vecHalves, vecMinimum, vecNumbers, vecScale } from "../formats/mod.ts";
import { range, wgsl } from "../shader/wgsl.ts";
import type { LinearShape } from "./linear.ts";

/** What of a tile the loop depends on. */
export interface LoopTile {
  /** Activation rows it computes: 1, 2, 4 or 8. */
  readonly tokens: number;
  /** Vecs a lane loads before it uses the first. */
  readonly unroll: number;
}

/** Statements that multiply-add one vec of every row with every activation row. */
function multiplyVec(shape: LinearShape, rows: number, tokens: number, name: string, at: string): string {
  const norm = shape.normEpsilon !== null;
  // The norm's weight goes to whichever side has fewer vectors.
  const scaleRows = norm && rows < tokens;
  const scaleInput = norm && !scaleRows;
  const hasMinimum = vecMinimum(shape.dtype, "w") !== null, ones = "vec4<f32>(1.0)";
  return wgsl`{
    ${norm && loadVec("f32", "g", { buffer: "normWeight", row: "0u", vec: at, index: at })}
    ${
    range(rows).map((r) => {
      const [low, high] = vecNumbers(shape.dtype, `${name}_${r}`);
      const scale = (i: number) => scaleRows ? ` * g_${i}` : "";
      return `let wl${r} = ${low}${scale(0)}; let wh${r} = ${high}${scale(1)};`;
    })
  }
    ${
    range(tokens).map((t) => {
      const [low, high] = vecHalves(shape.input, `x${t}`);
      const scale = (i: number) => scaleInput ? ` * g_${i}` : "";
      return wgsl`{ ${loadVec(shape.input, `x${t}`, { buffer: "input", row: `token${t}`, vec: at })}
      let xl = ${low}${scale(0)}; let xh = ${high}${scale(1)};
      ${
        hasMinimum &&
        `let total = dot(xl, ${scaleRows ? "g_0" : ones}) + dot(xh, ${scaleRows ? "g_1" : ones});`
      }
      ${
        range(rows).map((r) => {
          const product = `${vecScale(shape.dtype, `${name}_${r}`)}(dot(wl${r}, xl) + dot(wh${r}, xh))`;
          const minimum = vecMinimum(shape.dtype, `${name}_${r}`);
          return `sum${r}_${t} += ${product}${minimum === null ? "" : ` + ${minimum} * total`};`;
        })
      } }`;
    })
  } }`;
}

/** The loop over a row's vecs, `stride` apart, unrolled, with the odd ones at its end. */
export function vecLoop(shape: LinearShape, rows: number, tile: LoopTile, stride: number): string {
  const vecs = shape.columns / 8;
  const at = (start: string, u: number) => `${start} + ${u * stride}u`;
  const load = (name: string, row: string, vec: string) =>
    loadVec(shape.dtype, name, { buffer: "weight", row, vec });
  const block = (start: string, depth: number) =>
    wgsl`${range(depth).map((u) => range(rows).map((r) => load(`w${u}_${r}`, `row${r}`, at(start, u))))}
    ${range(depth).map((u) => multiplyVec(shape, rows, tile.tokens, `w${u}`, at(start, u)))}`;
  const perLane = Math.floor(vecs / stride);
  const blocks = Math.floor(perLane / tile.unroll);
  const rest = perLane - blocks * tile.unroll;
  const done = blocks * tile.unroll * stride;
  return wgsl`${
    blocks > 1
      ? `for (var k = first; k < ${done}u; k += ${tile.unroll * stride}u) { ${block("k", tile.unroll)} }`
      : blocks === 1 && `{ ${block("first", tile.unroll)} }`
  }
  ${rest > 0 && `{ let k = first + ${done}u; ${block("k", rest)} }`}
  ${
    vecs % stride !== 0 &&
    `{ let k = first + ${perLane * stride}u; if (k < ${vecs}u) { ${block("k", 1)} } }`
  }`;
}
