// Runs a model on a backend the way an executor would, without scheduler or workers, so that logits can be compared
// with a reference.

import { SampleFlag, type SamplingRows } from "../../kernels/plan.ts";
import { Decoder } from "../../engine/model/decoder.ts";
import { loadDecoderWeights } from "../../engine/model/load.ts";
import { type DTypeOption, type Model, openModel } from "../../engine/model/open.ts";
import { ropeFrequencies } from "../../engine/model/rope.ts";
import { readSafetensorsHeader } from "../../engine/weights/safetensors.ts";
import type { ModelConfig } from "../../engine/model/config.ts";
import type { Backend } from "../../kernels/ops.ts";
import { decode, encode } from "../../kernels/reference/numbers.ts";
import type { StepResult } from "../../kernels/plan.ts";
import { plan, samplingRows, scatteredPages, type TestSequence } from "../kernels/plans.ts";

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

  /**
   * `castFrequencies`: the reference models' outputs were computed after casting the whole module, its rotary
   * frequencies included, to the stored type and back. Published models are not run that way, so only the tests
   * that compare with those files round the frequencies too.
   */
  static async load(
    directory: string,
    backend: Backend,
    pageSize: number,
    { rows = 4, castFrequencies = false, dtype = "auto" }: {
      rows?: number;
      castFrequencies?: boolean;
      dtype?: DTypeOption;
    } = {},
  ): Promise<LoadedModel> {
    const model = await openModel(directory);
    const shard = { rank: 0, size: 1 };
    const weights = await loadDecoderWeights(model, backend, { dtype, shard });
    const contextLength = 256, pagesPerRow = contextLength / pageSize;
    const sizes = {
      pageSize,
      numPages: rows * pagesPerRow + 3,
      maxRows: rows,
      contextLength,
      maxTokens: 256,
      maxSamples: 32,
    };
    const angles = castFrequencies ? castTables(model.config, contextLength) : undefined;
    const decoder = Decoder.create(backend, model.config, weights, shard, sizes, angles);
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
      sampling?: SamplingRows;
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

/** Rotary tables from frequencies rounded to the model's stored type. */
function castTables(config: ModelConfig, positions: number) {
  const half = config.headDim / 2;
  const rounded = decode(
    encode(ropeFrequencies(config.rope, config.headDim, positions), config.dtype, half),
    config.dtype,
    half,
  );
  const factor = config.rope.type === "yarn" ? config.rope.attentionFactor : 1;
  const table = (turn: (angle: number) => number) =>
    Float32Array.from(
      { length: positions * half },
      (_, i) => turn(Math.floor(i / half) * rounded[i % half]!) * factor,
    );
  return { cosine: table(Math.cos), sine: table(Math.sin), half };
}

/** Sampled rows: every position of some sequences (scored), the last one of all (drawn, greedy). */
function positions(sequences: readonly TestSequence[], every: readonly boolean[]): SamplingRows {
  const rows: { token: number; sequence: number; draw: boolean }[] = [];
  let start = 0;
  sequences.forEach(({ extend }, sequence) => {
    for (let i = every[sequence] ? 0 : extend - 1; i < extend; i++) {
      rows.push({ token: start + i, sequence, draw: i === extend - 1 });
    }
    start += extend;
  });
  const base = samplingRows(rows.map(() => ({ row: 0, cached: 0, extend: 1 })));
  return {
    ...base,
    token: Uint32Array.from(rows, (r) => r.token),
    sequence: Uint32Array.from(rows, (r) => r.sequence),
    flags: Uint32Array.from(rows, (r) => r.draw ? SampleFlag.Draw : SampleFlag.Score),
  };
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
