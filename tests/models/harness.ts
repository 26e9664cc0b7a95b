// Runs a model on a backend the way an executor would, without scheduler or workers, so that logits can be compared
// with a reference.

import { SampleFlag, type Sampling } from "../../kernels/sampling.ts";
import { Decoder } from "../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../engine/model/load.ts";
import { openModel } from "../../engine/model/open.ts";
import type { DTypeOption } from "../../engine/weights/device_types.ts";
import type { Model } from "../../engine/model/model.ts";
import { readSafetensorsHeader } from "../../engine/weights/safetensors.ts";
import type { KvDType } from "../../kernels/kv_format.ts";
import type { Backend } from "../../kernels/ops.ts";
import type { StepResult } from "../../kernels/plan.ts";
import {
  plan,
  samplingRows,
  scatteredPages,
  type TestSampling,
  type TestSequence,
} from "../kernels/plans.ts";

/** A loaded model with rows for a few sequences. */
export class LoadedModel {
  readonly model: Model;
  readonly #backend: Backend;
  readonly #decoder: Decoder;
  #pages: [number, number, number][];
  #steps = 0;

  private constructor(model: Model, backend: Backend, decoder: Decoder, pages: [number, number, number][]) {
    this.model = model;
    this.#backend = backend;
    this.#decoder = decoder;
    this.#pages = pages;
  }

  /** Opens a model's folder and puts it on the backend, with room for `rows` sequences. */
  static async load(
    directory: string,
    backend: Backend,
    pageSize: number,
    { rows = 4, dtype = "auto", kvDType = "auto" }: {
      rows?: number;
      dtype?: DTypeOption;
      kvDType?: KvDType;
    } = {},
  ): Promise<LoadedModel> {
    const model = await openModel(directory);
    const shard = { rank: 0, size: 1 };
    const weights = await loadDecoderWeights(model, backend, { dtype, shard });
    const contextLength = 256, pagesPerRow = contextLength / pageSize;
    const sizes = {
      kvDType,
      pageSize,
      numPages: rows * pagesPerRow + 3,
      maxRows: rows,
      contextLength,
      maxTokens: 256,
      maxSamples: 32,
    };
    const decoder = new Decoder(backend, model.config, weights, shard, sizes);
    const all = scatteredPages(
      Array.from({ length: rows }, (_, r) => r),
      pagesPerRow,
      rows * pagesPerRow + 3,
    );
    return new LoadedModel(model, backend, decoder, all);
  }

  /** Computes whole prompts, each in its row, with the logits of the positions asked for, then of the last one. */
  prefill(
    prompts: readonly { row: number; ids: readonly number[]; everyPosition: boolean }[],
  ): Promise<StepResult> {
    const sequences = prompts.map(({ row, ids }) => ({ row, cached: 0, extend: ids.length }));
    const tokens = prompts.map(({ row, ids }) => ({ row, first: 0, ids }));
    return this.#run(sequences, {
      tokens,
      sampling: positions(sequences, prompts.map((p) => p.everyPosition)),
    });
  }

  /** One forward for the token at `position` of each row; `ids` replaces what the device has there. */
  decode(rows: readonly { row: number; position: number; id?: number }[], steps = 1): Promise<StepResult> {
    const sequences = rows.map(({ row, position }) => ({ row, cached: position, extend: 1 }));
    const tokens = rows.flatMap(({ row, position, id }) =>
      id === undefined ? [] : [{ row, first: position, ids: [id] }]
    );
    return this.#run(sequences, { tokens, steps });
  }

  async #run(
    sequences: readonly TestSequence[],
    options: {
      tokens: { row: number; first: number; ids: readonly number[] }[];
      sampling?: Sampling;
      steps?: number;
    },
  ): Promise<StepResult> {
    const step = plan(++this.#steps, sequences, { ...options, pages: this.#pages, returnLogits: true });
    this.#pages = [];
    const recorded = this.#backend.record(step, (ops) => this.#decoder.forward(ops));
    recorded.submit();
    return await recorded.read();
  }
}

/** Sampled rows: every position of some sequences (scored), the last one of all (drawn, greedy). */
function positions(sequences: readonly TestSequence[], every: readonly boolean[]): Sampling {
  const rows: TestSampling[] = [];
  let start = 0;
  sequences.forEach(({ extend }, sequence) => {
    for (let i = every[sequence] ? 0 : extend - 1; i < extend; i++) {
      const flags = i === extend - 1 ? SampleFlag.Draw : SampleFlag.Score;
      rows.push({ token: start + i, sequence, flags });
    }
    start += extend;
  });
  return samplingRows(rows.map(() => ({ row: 0, cached: 0, extend: 1 })), rows);
}

/** Prompts, logits and greedy continuations of a reference file. */
export async function readReference(
  path: string,
): Promise<{ prompt: number[]; logits: Float32Array; greedy: number[] }[]> {
  const tensors = new Map((await readSafetensorsHeader(path)).map((tensor) => [tensor.name, tensor]));
  const file = await Deno.readFile(path);
  const bytes = (name: string) => {
    const tensor = tensors.get(name);
    return tensor ? file.slice(tensor.offset, tensor.offset + tensor.bytes).buffer : null;
  };
  const cases = [];
  for (let i = 0;; i++) {
    const [prompt, logits, greedy] = [bytes(`prompt.${i}`), bytes(`logits.${i}`), bytes(`greedy.${i}`)];
    if (!prompt || !logits || !greedy) return cases;
    cases.push({
      prompt: [...new Int32Array(prompt)],
      logits: new Float32Array(logits),
      greedy: [...new Int32Array(greedy)],
    });
  }
}
