// The draw: argmax of the logits, with Gumbel noise where there is a temperature (Gumbel 1954), in two stages.
//
// Noise is a hash of (seed, position, token), see `reference/random.ts`, so a row's draw does not depend on what it
// is batched with. Stage one, grid (chunks, rows): the best token of each chunk of the vocabulary. Stage two, grid
// (rows): the best of all; writes the token pool and the result. The lowest id wins a tie. Bound by reading the
// logits.

import type { DeviceBuffer } from "../device/buffers.ts";
import { SampleFlag } from "../../sampling.ts";
import { contentAt, Sample, sampleWords, Word } from "../plan/words.ts";
import { type DeviceCaps, kernel, type KernelCall, read, write } from "../shader/kernel.ts";
import { laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { divideUp, wgsl, xyzw } from "../shader/wgsl.ts";

/** Logits [rows, stride] and how they are cut. */
export interface LogitsShape {
  /** Tokens in a row. */
  readonly vocabSize: number;
  /** Elements from row to row. */
  readonly stride: number;
}

/** Buffers of the sampling kernels. */
export type SampleRole =
  | "logits"
  | "tokenPool"
  | "counts"
  | "limits"
  | "candidates"
  | "chunkStats"
  | "results";
/** A dispatch of one of them. */
export type SampleCall = KernelCall<SampleRole>;

/** Logits of some rows on the device; the stride is a multiple of four, so that rows can be read in fours. */
export interface Logits {
  /** [rows, stride] */
  readonly logits: DeviceBuffer;
  /** How they are cut. */
  readonly shape: LogitsShape;
}

/** Tokens of a chunk. */
export const chunkTokens = (caps: DeviceCaps): number => caps.software ? 2048 : 4096;
/** Chunks of a row. */
export const chunkCount = ({ vocabSize }: LogitsShape, caps: DeviceCaps): number =>
  divideUp(vocabSize, chunkTokens(caps));

/** A value below every logit. */
export const lowest = "-3.4e38";
/** An id above every token, as a number and in WGSL. */
export const noTokenId = 0xffffffff;
/** The same in WGSL. */
export const noToken = `${noTokenId}u`;
/** Bits of a quiet NaN: "not asked for". */
export const nanBits = "0x7fc00000u";

/** `field(row, word)` of a sampled row's record. */
export const sampleRecord =
  `fn field(row: u32, word: u32) -> u32 { return plan[${contentAt}u + row * ${sampleWords}u + word]; }
fn fieldFloat(row: u32, word: u32) -> f32 { return bitcast<f32>(field(row, word)); }`;

/** The same hash and noise as `reference/random.ts`. */
const noise = `fn mixBits(value: u32) -> u32 {
  var x = value;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  return x ^ (x >> 16u);
}
fn gumbel(h: u32) -> f32 {
  let u = (f32(h) + 0.5) / 4294967296.0;
  if (u < 0.01) { return -log(u * (1.0 + u * (0.5 + u * (1.0 / 3.0)))); }
  // 1 - u from the hash's complement, exact where u is near 1.
  return -log(-log((f32(~h) + 0.5) / 4294967296.0));
}`;

/** Threads of a workgroup that goes over a chunk. */
export const threadsOf = (caps: DeviceCaps): number => caps.software ? 32 : 256;

/** Stage one; with `filtered`, tokens below a row's limit are left out. */
export function drawChunks(
  { vocabSize, stride }: LogitsShape,
  filtered: boolean,
  rows: number,
  caps: DeviceCaps,
): SampleCall {
  const threads = threadsOf(caps);
  const chunk = chunkTokens(caps);
  const chunks = divideUp(vocabSize, chunk);
  return kernel({
    key: `draw-chunks ${vocabSize}/${stride} ${filtered}`,
    buffers: { logits: read("vec4<f32>"), limits: filtered && read("f32"), candidates: write("vec2<u32>") },
    workgroups: [chunks, rows, 1],
    code: () =>
      wgsl`${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("first", "minU32", threads, caps)}
${sampleRecord}
${noise}
${laneMain(threads)} {
  let row = group.y;
  let start = group.x * ${chunk}u;
  let end = min(start + ${chunk}u, ${vocabSize}u);
  let base = row * ${stride / 4}u;
  let temperature = fieldFloat(row, ${Sample.temperature}u);
  let key = mixBits(field(row, ${Sample.seedLow}u) ^ mixBits(field(row, ${Sample.seedHigh}u) ^
    mixBits(field(row, ${Sample.position}u) + 1u + 0x9e3779b9u)));
  var best = ${lowest};
  var id = ${noToken};
  if (temperature == 0.0) {
    for (var i = start + 4u * thread; i < end; i += ${4 * threads}u) {
      let four = logits[base + (i >> 2u)];
      ${xyzw.map((e, n) => `if (four.${e} > best && i + ${n}u < end) { best = four.${e}; id = i + ${n}u; }`)}
    }
  } else {
    let limit = ${filtered ? "limits[row]" : lowest};
    for (var i = start + 4u * thread; i < end; i += ${4 * threads}u) {
      let four = logits[base + (i >> 2u)];
      ${
        xyzw.map((e, n) =>
          `if (four.${e} >= limit && i + ${n}u < end) {
        let noisy = four.${e} / temperature + gumbel(mixBits((i + ${n}u) ^ key));
        if (noisy > best) { best = noisy; id = i + ${n}u; }
      }`
        )
      }
    }
  }
  let top = largest(best, ${laneArguments});
  let winner = first(select(${noToken}, id, best == top), ${laneArguments});
  if (thread == 0u) { candidates[row * ${chunks}u + group.x] = vec2<u32>(bitcast<u32>(top), winner); }
}`,
  });
}

/** Stage two, over `chunks` candidates a row. */
export function drawFinish(
  chunks: number,
  contextLength: number,
  rows: number,
  caps: DeviceCaps,
): SampleCall {
  const threads = caps.software ? 16 : 64;
  return kernel({
    key: `draw-finish ${chunks} ${contextLength}`,
    buffers: { candidates: read("vec2<u32>"), tokenPool: write("u32"), results: write("u32") },
    workgroups: [rows, 1, 1],
    code: () =>
      `${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("first", "minU32", threads, caps)}
${sampleRecord}
${laneMain(threads)} {
  let row = group.x;
  var best = ${lowest};
  var id = ${noToken};
  for (var i = thread; i < ${chunks}u; i += ${threads}u) {
    let candidate = candidates[row * ${chunks}u + i];
    let value = bitcast<f32>(candidate.x);
    if (value > best) { best = value; id = candidate.y; }
  }
  let top = largest(best, ${laneArguments});
  let winner = first(select(${noToken}, id, best == top), ${laneArguments});
  if (thread != 0u) { return; }
  let position = field(row, ${Sample.position}u) + 1u;
  let inside = position < ${contextLength}u;
  let at = field(row, ${Sample.row}u) * ${contextLength}u + position;
  // Where nothing is above the lowest value, everything is forbidden: token 0.
  var token = select(winner, 0u, winner == ${noToken});
  if (field(row, ${Sample.flags}u) == ${SampleFlag.Score}u) {
    token = tokenPool[at];
  } else if (inside) {
    tokenPool[at] = token;
  }
  let result = plan[${Word.ResultsAt}] + row * (2u + 2u * plan[${Word.TopCount}]);
  results[result] = token;
  results[result + 1u] = ${nanBits};
}`,
  });
}
