// Presence, frequency and repetition penalties and logit biases, applied to the logits in place.
//
// A row's history stands in the token pool. One kernel counts it, a thread per position, into an array of
// [rows, vocabulary] words (top bit: occurs at all; rest: how often in the output); a second one goes through the
// same positions, and whoever takes a token's count, putting zero back, applies it. So the array is clean again for
// the next step, and no pass over the vocabulary is needed. Biases come last, a thread per entry.
// Grid: (positions / 128, rows) and (biases / 64, rows). Bound by launch.

import { SampleFlag } from "../../sampling.ts";
import type { KernelCall } from "../shader/kernel.ts";
import { Sample } from "../plan/words.ts";
import { divideUp, input, kernelSource, output } from "../shader/wgsl.ts";
import { type LogitsShape, sampleRecord } from "./draw.ts";

const threads = 128;
const biasThreads = 64;

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

const parameters = "@builtin(global_invocation_id) id: vec3<u32>";

/** Counts the history of `rows` rows of at most `positions` tokens. */
export function countHistory(
  { vocabSize }: LogitsShape,
  contextLength: number,
  positions: number,
  rows: number,
): KernelCall<"tokenPool" | "counts"> {
  const source = kernelSource(
    `penalty-count ${vocabSize} ${contextLength}`,
    [input("tokenPool", "array<u32>"), output("counts", "array<atomic<u32>>")],
    () =>
      `${sampleRecord}
@compute @workgroup_size(${threads}) fn main(${parameters}) {
${historyEntry(vocabSize, contextLength)}
  atomicOr(&counts[at], 0x80000000u);
  if (id.x >= field(row, ${Sample.promptLength}u)) { atomicAdd(&counts[at], 1u); }
}`,
  );
  return { source, bindings: ["tokenPool", "counts"], workgroups: [divideUp(positions, threads), rows, 1] };
}

/** Applies the counts to the logits and clears them. */
export function applyPenalties(
  { vocabSize, stride }: LogitsShape,
  contextLength: number,
  positions: number,
  rows: number,
): KernelCall<"tokenPool" | "counts" | "logits"> {
  const source = kernelSource(
    `penalty-apply ${vocabSize}/${stride} ${contextLength}`,
    [
      input("tokenPool", "array<u32>"),
      output("counts", "array<atomic<u32>>"),
      output("logits", "array<f32>"),
    ],
    () =>
      `${sampleRecord}
@compute @workgroup_size(${threads}) fn main(${parameters}) {
${historyEntry(vocabSize, contextLength)}
  let taken = atomicExchange(&counts[at], 0u);
  if (taken == 0u) { return; }
  let count = taken & 0x7fffffffu;
  let logit = logits[row * ${stride}u + token];
  let repeated = select(logit * repetition, logit / repetition, logit > 0.0);
  logits[row * ${stride}u + token] = repeated - frequency * f32(count) - select(0.0, presence, count > 0u);
}`,
  );
  return {
    source,
    bindings: ["tokenPool", "counts", "logits"],
    workgroups: [divideUp(positions, threads), rows, 1],
  };
}

/** Adds the biases of `rows` rows with at most `entries` each. */
export function applyBias({ stride }: LogitsShape, entries: number, rows: number): KernelCall<"logits"> {
  const source = kernelSource(
    `bias ${stride}`,
    [output("logits", "array<f32>")],
    () =>
      `${sampleRecord}
@compute @workgroup_size(${biasThreads}) fn main(${parameters}) {
  if (id.x >= field(id.y, ${Sample.biasCount}u)) { return; }
  let entry = field(id.y, ${Sample.biasAt}u) + 2u * id.x;
  logits[id.y * ${stride}u + plan[entry]] += bitcast<f32>(plan[entry + 1u]);
}`,
  );
  return { source, bindings: ["logits"], workgroups: [divideUp(entries, biasThreads), rows, 1] };
}
