// The decoder's operations, each turned into dispatches.

import type { Activation, AttentionArgs, LinearArgs, Matrix, MoeArgs, Ops, SampleArgs } from "../ops.ts";
import { recordAttention } from "./attention/operation.ts";
import { recordAllReduce } from "./collective/operation.ts";
import { DeviceActivation, type Forward, look, recordOperation } from "./record/context.ts";
import { embed } from "./embed/embed.ts";
import { PlanWord } from "./shader/kernel.ts";
import { recordLinear } from "./linear/operation.ts";
import { recordMoe } from "./moe/operation.ts";
import { recordSample } from "./sample/operation.ts";
import { DeviceMatrix, DeviceVector } from "./state/weights.ts";

const activation = (a: Activation) => a as DeviceActivation;

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

  attention(args: AttentionArgs): void {
    recordAttention(this.#forward, args);
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
