// Presence, frequency and repetition penalties, logit biases and masks, applied to the logits in place.
//
// A row's history stands in the token pool. One kernel counts it, a thread per position, into an array of
// [rows, vocabulary] words (top bit: occurs at all; rest: how often in the output); a second one goes through the
// same positions: the first thread to exchange a token's count for zero applies it. So the array is clean again for the
// next step, and no pass over the vocabulary is needed. Biases follow, a thread per entry,
// and masks come last, a thread per token.
// Grid: (positions / 128, rows) and (biases / 64, rows). Bound by launch.

import { SampleFlag } from "../../sampling.ts";
import { Sample } from "../plan/words.ts";
import { kernel, read, write } from "../shader/kernel.ts";
import { elementMain } from "../shader/reduce.ts";
import { divideUp } from "../shader/wgsl.ts";
import { type LogitsShape, type SampleCall, sampleRecord } from "./draw.ts";

const threads = 128;
const biasThreads = 64;
const maskThreads = 256;

/** The position of this thread in its row's history and the token there, or an early return. */
const historyEntry = (vocabSize: number, contextLength: number) =>
  `  let row = id.y;
  let presence = fieldFloat(row, ${Sample.presencePenalty}u);
  let frequency = fieldFloat(row, ${Sample.frequencyPenalty}u);
  let repetition = fieldFloat(row, ${Sample.repetitionPenalty}u);
  if (presence == 0.0 && frequency == 0.0 && repetition == 1.0) { return; }
  if (id.x > field(row, ${Sample.position}u) || field(row, ${Sample.flags}u) == ${SampleFlag.Score}u) { return; }
  let token = tokenPool[field(row, ${Sample.row}u) * ${contextLength}u + id.x];
  if (token >= ${vocabSize}u) { return; }
  let at = row * ${vocabSize}u + token;`;

/** Counts the history of `rows` rows of at most `positions` tokens. */
export function countHistory(
  { vocabSize }: LogitsShape,
  contextLength: number,
  positions: number,
  rows: number,
): SampleCall {
  return kernel({
    key: `penalty-count ${vocabSize} ${contextLength}`,
    buffers: { tokenPool: read("u32"), counts: write("atomic<u32>") },
    workgroups: [divideUp(positions, threads), rows, 1],
    code: () =>
      `${sampleRecord}
${elementMain(threads)} {
${historyEntry(vocabSize, contextLength)}
  atomicOr(&counts[at], 0x80000000u);
  if (id.x >= field(row, ${Sample.promptLength}u)) { atomicAdd(&counts[at], 1u); }
}`,
  });
}

/** Applies the counts to the logits and clears them. */
export function applyPenalties(
  { vocabSize, stride }: LogitsShape,
  contextLength: number,
  positions: number,
  rows: number,
): SampleCall {
  return kernel({
    key: `penalty-apply ${vocabSize}/${stride} ${contextLength}`,
    buffers: { tokenPool: read("u32"), counts: write("atomic<u32>"), logits: write("f32") },
    workgroups: [divideUp(positions, threads), rows, 1],
    code: () =>
      `${sampleRecord}
${elementMain(threads)} {
${historyEntry(vocabSize, contextLength)}
  let taken = atomicExchange(&counts[at], 0u);
  if (taken == 0u) { return; }
  let count = taken & 0x7fffffffu;
  let logit = logits[row * ${stride}u + token];
  let repeated = select(logit * repetition, logit / repetition, logit > 0.0);
  logits[row * ${stride}u + token] = repeated - frequency * f32(count) - select(0.0, presence, count > 0u);
}`,
  });
}

/** Adds the biases of `rows` rows with at most `entries` each. */
export function applyBias({ stride }: LogitsShape, entries: number, rows: number): SampleCall {
  return kernel({
    key: `bias ${stride}`,
    buffers: { logits: write("f32") },
    workgroups: [divideUp(entries, biasThreads), rows, 1],
    code: () =>
      `${sampleRecord}
${elementMain(biasThreads)} {
  if (id.x >= field(id.y, ${Sample.biasCount}u)) { return; }
  let entry = field(id.y, ${Sample.biasAt}u) + 2u * id.x;
  logits[id.y * ${stride}u + plan[entry]] += bitcast<f32>(plan[entry + 1u]);
}`,
  });
}

/** Forbids what the masks of `rows` rows do not allow. */
export function applyMasks({ vocabSize, stride }: LogitsShape, rows: number): SampleCall {
  return kernel({
    key: `mask ${vocabSize}/${stride}`,
    buffers: { logits: write("f32") },
    workgroups: [divideUp(vocabSize, maskThreads), rows, 1],
    code: () =>
      `${sampleRecord}
${elementMain(maskThreads)} {
  let mask = field(id.y, ${Sample.maskAt}u);
  if (id.x >= ${vocabSize}u || mask == 0u) { return; }
  if ((plan[mask + id.x / 32u] >> (id.x % 32u) & 1u) == 0u) {
    // Minus infinity, which a constant expression may not be.
    logits[id.y * ${stride}u + id.x] = bitcast<f32>(max(0xff800000u, id.x));
  }
}`,
  });
}
