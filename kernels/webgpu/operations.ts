// The decoder's operations, each turned into dispatches.

import type {
  Activation,
  AttentionArgs,
  LinearArgs,
  Matrix,
  MoeArgs,
  Norm,
  Ops,
  RopeStoreArgs,
  SampleArgs,
} from "../ops.ts";
import { decodeAttention } from "./attention/decode.ts";
import { mergeSplits } from "./attention/merge.ts";
import { prefillAttention, prefillTile } from "./attention/prefill.ts";
import { partialWords } from "./attention/shape.ts";
import { recordAllReduce } from "./collective_operation.ts";
import { DeviceActivation, type Forward, look, recordOperation, sharedBuffer } from "./context.ts";
import { embed } from "./embed/embed.ts";
import { PlanWord } from "./kernel.ts";
import { recordLinear } from "./linear_operation.ts";
import { recordMoe } from "./moe_operation.ts";
import { ropeStore } from "./rope/rope_store.ts";
import { recordSample } from "./sample_operation.ts";
import { DeviceMatrix, DeviceRope, DeviceVector } from "./weights.ts";

const activation = (a: Activation) => a as DeviceActivation;
const vector = (norm: Norm) => (norm.weight as DeviceVector).buffer;

/** One forward over the plan that is being recorded. */
export class DeviceOps implements Ops {
  readonly #forward: Forward;

  /** Begins the forward's region of the plan. */
  constructor(forward: Forward) {
    this.#forward = forward;
    forward.recorder.region(forward.shape.offset);
  }

  embed(table: Matrix, output: Activation): void {
    const { context: { state }, shape: { tokens } } = this.#forward;
    const { spec, parts } = table as DeviceMatrix;
    const target = activation(output);
    recordOperation(
      this.#forward,
      `embed ${parts[0]!.buffer.id} ${target.buffer.id} ${tokens}`,
      () =>
        parts.map((part, i) =>
          look(
            this.#forward,
            embed({
              columns: spec.columns,
              dtype: spec.dtype,
              firstId: state.spec.vocabStart + part.first,
              rows: part.count,
              contextLength: state.spec.contextLength,
              zeroOthers: i === 0,
              output: target.element,
            }, tokens),
            { table: part.buffer, tokenPool: state.tokenPool, output: target.buffer },
          )
        ),
    );
  }

  linear({ input, norm, weight, bias, output, epilogue, next }: LinearArgs): void {
    recordLinear(this.#forward, {
      input: activation(input),
      norm: norm ?? null,
      weight: weight as DeviceMatrix,
      bias: bias as DeviceVector | undefined ?? null,
      output: activation(output),
      epilogue,
      next: next ? { norm: next.norm ?? null, weight: next.weight as DeviceMatrix } : null,
      rows: this.#forward.shape.tokens,
      countWord: PlanWord.Tokens,
    });
  }

  ropeStore({ qkv, heads, qNorm, kNorm, rope, layer }: RopeStoreArgs): void {
    const { context: { state, gpu }, shape: { tokens } } = this.#forward;
    const { buffer, element } = activation(qkv);
    const { cosine, sine } = rope as DeviceRope;
    const weights = [qNorm ? vector(qNorm) : cosine, kNorm ? vector(kNorm) : cosine] as const;
    const key = `rope ${layer} ${buffer.id} ${cosine.id} ${weights[0].id} ${weights[1].id} ${tokens}`;
    recordOperation(this.#forward, key, () => {
      const call = ropeStore(
        {
          heads,
          cache: state.cache,
          qNorm: qNorm?.epsilon ?? null,
          kNorm: kNorm?.epsilon ?? null,
          qkv: element,
        },
        tokens,
        gpu.caps,
      );
      return [look(this.#forward, call, {
        qkv: buffer,
        cosine,
        sine,
        qNorm: weights[0],
        kNorm: weights[1],
        pageTable: state.pageTable,
        keys: state.keys[layer]!,
        values: state.values[layer]!,
      })];
    });
  }

  attention({ qkv, heads, output, layer, scale, window }: AttentionArgs): void {
    const { context: { state, gpu }, shape } = this.#forward;
    const { decodes, splits, threads } = shape;
    const from = activation(qkv), to = activation(output);
    const key =
      `attention ${layer} ${from.buffer.id} ${to.buffer.id} ${scale} ${window} ${decodes} ${splits} ${threads} ` +
      `${shape.tiles}`;
    recordOperation(this.#forward, key, () => {
      const fixed = {
        heads,
        cache: state.cache,
        scale,
        window,
        qkv: from.element,
        output: to.element,
      };
      const words = decodes * heads.numHeads * splits * partialWords(heads.headDim);
      const buffers = {
        qkv: from.buffer,
        pageTable: state.pageTable,
        keys: state.keys[layer]!,
        values: state.values[layer]!,
        partial: sharedBuffer(this.#forward, "partial", splits > 1 ? 4 * words : 16),
        output: to.buffer,
      };
      const prepared = [];
      if (decodes > 0) {
        prepared.push(
          look(this.#forward, decodeAttention(fixed, decodes, splits, threads, gpu.caps), buffers),
        );
      }
      const tile = prefillTile(heads, gpu.caps);
      if (tile !== null && shape.tiles > 0) {
        prepared.push(look(this.#forward, prefillAttention(fixed, tile, shape.tiles), buffers));
      }
      if (splits > 1) prepared.push(look(this.#forward, mergeSplits(fixed, decodes, gpu.caps), buffers));
      return prepared;
    });
  }

  moe(args: MoeArgs): void {
    recordMoe(this.#forward, args);
  }

  allReduce(partial: Activation, output: Activation, epilogue: "store" | "add"): void {
    const { collective } = this.#forward.context;
    if (collective === null) throw new Error("all-reduce without a group of ranks");
    recordAllReduce(this.#forward, collective, activation(partial), activation(output), epilogue);
  }

  sample({ input, norm, head }: SampleArgs): void {
    recordSample(this.#forward, activation(input), norm, head as DeviceMatrix);
  }
}
