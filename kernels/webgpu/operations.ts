// The decoder's operations, each turned into dispatches.

import type {
  Activation,
  AttentionArgs,
  LinearArgs,
  Matrix,
  MoeArgs,
  NormArgs,
  Ops,
  SampleArgs,
} from "../ops.ts";
import { recordAttention } from "./attention/operation.ts";
import { recordAllReduce } from "./collective/operation.ts";
import { recordEmbed } from "./embed/embed.ts";
import { recordLinear } from "./linear/operation.ts";
import { recordColumnNorm, recordSquares } from "./norm/norm.ts";
import { recordMoe } from "./moe/operation.ts";
import { Word } from "./plan/words.ts";
import type { DeviceActivation, Forward } from "./record/context.ts";
import { recordSample } from "./sample/operation.ts";
import type { DeviceMatrix, DeviceVector } from "./state/weights.ts";

const activation = (a: Activation) => a as DeviceActivation;

/** One forward over the plan that is being recorded. */
export class DeviceOps implements Ops {
  readonly #forward: Forward;

  /** Begins the forward's region of the plan. */
  constructor(forward: Forward) {
    this.#forward = forward;
    forward.recorder.region(forward.shape.offset);
  }

  get draws(): boolean {
    return this.#forward.needs.kept === "restore";
  }

  embed(table: Matrix, output: Activation, scale = 1): void {
    recordEmbed(this.#forward, table as DeviceMatrix, activation(output), scale);
  }

  norm(args: NormArgs): void {
    recordColumnNorm(this.#forward, args);
  }

  squares(input: Activation, first: number, count: number, output: Activation, column: number): void {
    recordSquares(this.#forward, input, first, count, output, column);
  }

  linear(args: LinearArgs): void {
    recordLinear(this.#forward, {
      ...args,
      input: activation(args.input),
      weight: args.weight as DeviceMatrix,
      bias: args.bias as DeviceVector | undefined,
      output: activation(args.output),
      rows: this.#forward.shape.tokens,
      countWord: Word.Tokens,
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

  sample(args: SampleArgs): void {
    recordSample(this.#forward, args);
  }
}
