// What each weight format costs in accuracy, against the same computation in float64 with the weights as they are: of
// normal numbers, and of the embedded model's logits. A matrix whose rows are not whole blocks is q8, as when it is
// loaded; the share of the weights that is in the format is said.
//
//   deno run -A bench/formats.ts [--out bench/results/formats-DATE.json]

import { Decoder } from "../engine/model/decoder.ts";
import { mapTree } from "../engine/model/layers.ts";
import { openModel } from "../engine/model/open.ts";
import { FileSource } from "../engine/weights/file_source.ts";
import { dummyVector } from "../engine/weights/dummy.ts";
import { planDecoder, planParts } from "../engine/weights/plan.ts";
import { readSafetensorsHeader } from "../engine/weights/safetensors.ts";
import { type DType, dtypes, formats, rowBytes } from "../kernels/formats/mod.ts";
import { createReferenceBackend } from "../kernels/reference/backend.ts";
import { readOptions } from "./common/arguments.ts";
import { consecutivePages, equalPlan } from "./common/equal_plan.ts";
import { writeResult } from "./common/result_file.ts";
import { table } from "./common/table.ts";

const { values } = readOptions(import.meta.url, { options: { out: { type: "string" } } });
const pocket = decodeURIComponent(new URL("../models/pocket", import.meta.url).pathname);
const shard = { rank: 0, size: 1 }, pageSize = 16;

/** ‖a − b‖ / ‖b‖ */
function relativeError(a: Float32Array, b: Float32Array): number {
  let error = 0, size = 0;
  b.forEach((x, i) => {
    error += (a[i]! - x) ** 2;
    size += x ** 2;
  });
  return Math.sqrt(error / size);
}

/** Numbers of a normal distribution, always the same. */
function normals(count: number): Float32Array {
  let state = 1;
  const random = () => (state = state * 16807 % 2147483647) / 2147483647;
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()),
  );
}

/** The prompts of the model's reference. */
async function readPrompts(): Promise<Uint32Array[]> {
  const path = `${pocket}/reference.safetensors`, file = await Deno.readFile(path);
  return (await readSafetensorsHeader(path)).filter(({ name }) => name.startsWith("prompt."))
    .map(({ offset, bytes }) => new Uint32Array(file.slice(offset, offset + bytes).buffer));
}

/** Logits of each prompt's last token with the model's matrices in a format, and the share of weights that are. */
async function logitsIn(dtype: DType, prompts: readonly Uint32Array[]) {
  const model = await openModel(pocket);
  using backend = await createReferenceBackend();
  const fits = (columns: number) => columns % formats[dtype].blockColumns === 0;
  const plan = planDecoder(model.config, (_, _pieces, columns) => fits(columns) ? dtype : "q8", shard);
  const parts = planParts(plan);
  const matrices = new Map(parts.matrices.map((plan) => [plan, backend.createMatrix(plan.spec)]));
  const vectors = new Map(parts.vectors.map((plan) => [plan, dummyVector(plan)]));
  const source = await FileSource.open(model, model.tensors!, plan);
  await source.fill(matrices, vectors, (matrix, row, data) => backend.writeRows(matrix, row, data), () => {});
  const made = new Map(parts.vectors.map((plan) => [plan, backend.createVector(vectors.get(plan)!)]));
  const weights = mapTree(plan, (matrix) => matrices.get(matrix)!, (vector) => made.get(vector)!);
  const longest = Math.ceil(Math.max(...prompts.map(({ length }) => length)) / pageSize) * pageSize;
  const decoder = new Decoder(backend, model.config, weights, shard, {
    pageSize,
    numPages: longest / pageSize,
    maxRows: 1,
    contextLength: longest,
    maxTokens: longest,
    maxSamples: 1,
  });
  const logits: Float32Array[] = [];
  for (const ids of prompts) {
    const pages = consecutivePages(1, longest / pageSize);
    const shape = { id: 0, batch: 1, cached: 0, extend: ids.length, sampled: true, pages, prompt: ids };
    const plan = { ...equalPlan(shape), returnLogits: true };
    const step = backend.record(plan, (ops) => decoder.forward(ops));
    step.submit();
    logits.push((await step.read()).logits!.slice());
  }
  const size = (of: typeof parts.matrices) => of.reduce((sum, { spec }) => sum + spec.rows * spec.columns, 0);
  return {
    logits,
    share: size(parts.matrices.filter(({ spec }) => spec.dtype === dtype)) / size(parts.matrices),
  };
}

const prompts = await readPrompts(), numbers = normals(1 << 20), columns = 4096;
const exact = (await logitsIn("f32", prompts)).logits;
const results = [];
for (const dtype of dtypes) {
  const { encode, decode } = formats[dtype];
  const { logits, share } = await logitsIn(dtype, prompts);
  results.push({
    format: dtype,
    bits: 8 * rowBytes(dtype, columns) / columns,
    normalNumbers: relativeError(decode(encode(numbers.slice(), columns), columns), numbers),
    logits: logits.reduce((sum, found, i) => sum + relativeError(found, exact[i]!), 0) / logits.length,
    share,
  });
}
console.log(
  table(
    [
      "format",
      "bits a weight",
      "error of normal numbers",
      "of pocket's logits (mean)",
      "share of its weights",
    ],
    results.map(({ format, bits, normalNumbers, logits, share }) => [
      format,
      bits.toFixed(2),
      normalNumbers.toExponential(1),
      logits.toExponential(1),
      `${(100 * share).toFixed(0)} %`,
    ]),
  ),
);
if (values.out !== undefined) {
  await writeResult(values.out, { date: new Date().toISOString().slice(0, 10), model: "pocket", results });
}
