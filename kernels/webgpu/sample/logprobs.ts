// Log-probabilities of the chosen token and of the best alternatives, under the model's own distribution.
//
// Stage one, grid (chunks, rows): of each chunk of the vocabulary the maximum, the sum of exponentials and the n best
// tokens, each found as the best one after the one before it. Stage two, grid (rows): the same over the chunks'
// lists. Rows that ask for nothing leave at once. Bound by reading the logits, n + 1 times from the cache.

import { Sample, Word } from "../plan/words.ts";
import { type DeviceCaps, kernel, read, write } from "../shader/kernel.ts";
import { laneArguments, laneMain, workgroupReduction } from "../shader/reduce.ts";
import { divideUp } from "../shader/wgsl.ts";
import {
  chunkTokens,
  type LogitsShape,
  lowest,
  nanBits,
  noToken,
  type SampleCall,
  sampleRecord,
  threadsOf,
} from "./draw.ts";

/** Words of a chunk's results: maximum and sum, then (value, id) pairs. */
export const chunkWords = (topCount: number): number => 2 + 2 * topCount;
const planChunkWords = `(2u + 2u * plan[${Word.TopCount}])`;

/** Whether (value, id) comes after the last one taken: smaller, or equal with a higher id. */
const comesAfter = "(value < lastValue || (value == lastValue && id > lastId))";

function reductions(threads: number, caps: DeviceCaps): string {
  return `${workgroupReduction("largest", "max", threads, caps)}
${workgroupReduction("total", "add", threads, caps)}
${workgroupReduction("first", "minU32", threads, caps)}
${sampleRecord}`;
}

/** Stage one. */
export function logprobChunks(
  { vocabSize, stride }: LogitsShape,
  rows: number,
  caps: DeviceCaps,
): SampleCall {
  const threads = threadsOf(caps);
  const chunk = chunkTokens(caps);
  const chunks = divideUp(vocabSize, chunk);
  return kernel({
    key: `logprob-chunks ${vocabSize}/${stride}`,
    buffers: { logits: read("f32"), chunkStats: write("u32") },
    workgroups: [chunks, rows, 1],
    code: () =>
      `${reductions(threads, caps)}
${laneMain(threads)} {
  let row = group.y;
  let wanted = field(row, ${Sample.logprobs}u);
  if (wanted == 0u) { return; }
  let start = group.x * ${chunk}u;
  let end = min(start + ${chunk}u, ${vocabSize}u);
  let base = row * ${stride}u;
  let at = (row * ${chunks}u + group.x) * ${planChunkWords};
  var greatest = ${lowest};
  for (var id = start + thread; id < end; id += ${threads}u) { greatest = max(greatest, logits[base + id]); }
  let maximum = largest(greatest, ${laneArguments});
  var part = 0.0;
  for (var id = start + thread; id < end; id += ${threads}u) { part += exp(logits[base + id] - maximum); }
  let sum = total(part, ${laneArguments});
  if (thread == 0u) {
    chunkStats[at] = bitcast<u32>(maximum);
    chunkStats[at + 1u] = bitcast<u32>(sum);
  }
  var lastValue = -(${lowest});
  var lastId = 0u;
  for (var n = 0u; n + 1u < wanted; n++) {
    var best = ${lowest};
    var bestId = ${noToken};
    for (var id = start + thread; id < end; id += ${threads}u) {
      let value = logits[base + id];
      if (value > best && ${comesAfter}) { best = value; bestId = id; }
    }
    lastValue = largest(best, ${laneArguments});
    lastId = first(select(${noToken}, bestId, best == lastValue), ${laneArguments});
    if (thread == 0u) {
      chunkStats[at + 2u + 2u * n] = bitcast<u32>(lastValue);
      chunkStats[at + 3u + 2u * n] = lastId;
    }
  }
}`,
  });
}

/** Stage two, after the draw. */
export function logprobFinish(
  { vocabSize, stride }: LogitsShape,
  rows: number,
  caps: DeviceCaps,
): SampleCall {
  const threads = caps.software ? 32 : 64;
  const chunks = divideUp(vocabSize, chunkTokens(caps));
  return kernel({
    key: `logprob-finish ${vocabSize}/${stride}`,
    buffers: { logits: read("f32"), chunkStats: read("u32"), results: write("u32") },
    workgroups: [rows, 1, 1],
    code: () =>
      `${reductions(threads, caps)}
${laneMain(threads)} {
  let row = group.x;
  let wanted = field(row, ${Sample.logprobs}u);
  let topCount = plan[${Word.TopCount}];
  let words = 2u + 2u * topCount;
  let result = plan[${Word.ResultsAt}] + row * words;
  for (var n = thread; n < topCount; n += ${threads}u) {
    if (n + 1u >= wanted) {
      results[result + 2u + n] = 0u;
      results[result + 2u + topCount + n] = ${nanBits};
    }
  }
  if (wanted == 0u) { return; }
  let base = row * ${chunks}u * words;
  var greatest = ${lowest};
  for (var c = thread; c < ${chunks}u; c += ${threads}u) { greatest = max(greatest, bitcast<f32>(chunkStats[base + c * words])); }
  let maximum = largest(greatest, ${laneArguments});
  var part = 0.0;
  for (var c = thread; c < ${chunks}u; c += ${threads}u) {
    let at = base + c * words;
    part += bitcast<f32>(chunkStats[at + 1u]) * exp(bitcast<f32>(chunkStats[at]) - maximum);
  }
  let shift = maximum + log(total(part, ${laneArguments}));
  if (thread == 0u) {
    results[result + 1u] = bitcast<u32>(logits[row * ${stride}u + results[result]] - shift);
  }
  var lastValue = -(${lowest});
  var lastId = 0u;
  for (var n = 0u; n + 1u < wanted; n++) {
    var best = ${lowest};
    var bestId = ${noToken};
    for (var i = thread; i < (wanted - 1u) * ${chunks}u; i += ${threads}u) {
      let at = base + (i / (wanted - 1u)) * words + 2u + 2u * (i % (wanted - 1u));
      let value = bitcast<f32>(chunkStats[at]);
      let id = chunkStats[at + 1u];
      if (id != ${noToken} && (value > best || (value == best && id < bestId)) && ${comesAfter}) {
        best = value;
        bestId = id;
      }
    }
    lastValue = largest(best, ${laneArguments});
    lastId = first(select(${noToken}, bestId, best == lastValue), ${laneArguments});
    if (thread == 0u) {
      results[result + 2u + n] = lastId;
      results[result + 2u + topCount + n] = bitcast<u32>(lastValue - shift);
    }
  }
}`,
  });
}
