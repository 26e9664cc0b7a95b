// The decoder: one for Llama, Mistral, Qwen2, Qwen3 and Qwen3-MoE, which differ by a few flags of their
// configuration (biases, q/k norm, experts, windows, tied head).
//
// Pre-norm residual blocks (Llama, arXiv 2302.13971) with grouped-query attention (arXiv 2305.13245), rotary
// positions (arXiv 2104.09864) and a SiLU-gated feed-forward (arXiv 2002.05202). Written against `Ops`, so it runs
// on every backend; each call is one fusable operation, five to seven a layer.

import type {
  Activation,
  Backend,
  HeadLayout,
  LinearArgs,
  Matrix,
  Norm,
  Ops,
  RopeTable,
  StateSpec,
  Vector,
} from "../../kernels/ops.ts";
import { normScale } from "../weights/plan.ts";
import { headLayout, paddedWidth, type Shard, vocabRange } from "../weights/shard.ts";
import type { ModelConfig } from "./config.ts";
import type { DecoderTree } from "./layers.ts";
import { ropeTables } from "./rope.ts";

/** A whole model on the device. */
export type DecoderWeights = DecoderTree<Matrix, Vector>;

type LayerWeights = DecoderWeights["layers"][number];

/** What can be chosen about a backend's state; the rest follows from the model and the rank's share of it. */
export type StateSizes = Omit<
  StateSpec,
  "numLayers" | "heads" | "vocabSize" | "vocabStart" | "hiddenSize"
>;

/** Runs forwards; owns the activations. */
export class Decoder {
  readonly #config: ModelConfig;
  readonly #weights: DecoderWeights;
  readonly #heads: HeadLayout;
  readonly #rope: RopeTable;
  /** Residual stream [T, H]. */
  readonly #x: Activation;
  readonly #qkv: Activation;
  readonly #attended: Activation;
  readonly #gated: Activation | null;
  /** This rank's part of a sum, when there are several ranks. */
  readonly #partial: Activation | null;

  /** Creates the backend's state, rotary angles and activations for weights that are on it already. */
  constructor(
    backend: Backend,
    config: ModelConfig,
    weights: DecoderWeights,
    shard: Shard,
    sizes: StateSizes,
  ) {
    const { numLayers, vocabSize } = config, hiddenSize = paddedWidth(config.hiddenSize);
    const heads = headLayout(config, shard), vocabStart = vocabRange(config, shard).start;
    backend.createState({ ...sizes, numLayers, heads, vocabSize, vocabStart, hiddenSize });
    const { cosine, sine, half } = ropeTables(config, sizes.contextLength);
    this.#config = config;
    this.#weights = weights;
    this.#heads = heads;
    this.#rope = backend.createRopeTable(cosine, sine, half);
    const residual = () => backend.createActivation(hiddenSize, "residual");
    this.#x = residual();
    this.#qkv = backend.createActivation((heads.numHeads + 2 * heads.numKvHeads) * heads.headDim, "hidden");
    this.#attended = backend.createActivation(heads.numHeads * heads.headDim, "attended");
    const dense = weights.layers.find(({ feedForward }) => feedForward.type === "dense")?.feedForward;
    this.#gated = dense ? backend.createActivation(dense.down.spec.columns, "hidden") : null;
    this.#partial = shard.size > 1 ? residual() : null;
  }

  /** Records one forward over the current plan. */
  forward(ops: Ops): void {
    const x = this.#x, { embedding, finalNorm } = this.#weights;
    if (this.#partial === null) {
      ops.embed(embedding, x);
    } else {
      // Each rank holds a slice of the vocabulary and contributes zeros for other tokens.
      ops.embed(embedding, this.#partial);
      ops.allReduce(this.#partial, x, "store");
    }
    for (let i = 0; i < this.#weights.layers.length; i++) this.#layer(ops, i);
    ops.sample({ input: x, norm: this.#norm(finalNorm), head: this.#weights.head ?? embedding });
  }

  #layer(ops: Ops, index: number): void {
    const layer = this.#weights.layers[index]!;
    const heads = this.#heads;
    ops.linear({
      input: this.#x,
      norm: this.#norm(layer.inputNorm),
      weight: layer.qkv,
      bias: layer.qkvBias ?? undefined,
      output: this.#qkv,
      epilogue: "store",
    });
    ops.attention({
      qkv: this.#qkv,
      heads,
      qNorm: layer.qNorm ? this.#headNorm(layer.qNorm) : undefined,
      kNorm: layer.kNorm ? this.#headNorm(layer.kNorm) : undefined,
      rope: this.#rope,
      output: this.#attended,
      layer: index,
      scale: 1 / Math.sqrt(heads.headDim),
      window: this.#config.slidingWindow[index] ?? null,
    });
    const { feedForward } = layer;
    const next = feedForward.type === "dense"
      ? { norm: this.#norm(layer.postNorm), weight: feedForward.gateUp }
      : undefined;
    this.#addProduct(ops, this.#attended, layer.output, layer.outputBias, next);
    this.#feedForward(ops, layer, this.#weights.layers[index + 1]);
  }

  #feedForward(ops: Ops, layer: LayerWeights, following: LayerWeights | undefined): void {
    const norm = this.#norm(layer.postNorm);
    const weights = layer.feedForward;
    switch (weights.type) {
      case "dense": {
        const gated = this.#gated!;
        ops.linear({
          input: this.#x,
          norm,
          weight: weights.gateUp,
          bias: weights.gateUpBias ?? undefined,
          output: gated,
          epilogue: "silu-mul",
          next: { weight: weights.down },
        });
        const next = following && { norm: this.#norm(following.inputNorm), weight: following.qkv };
        this.#addProduct(ops, gated, weights.down, weights.downBias, next);
        return;
      }
      case "moe": {
        const { router, gateUp, down } = weights;
        const { expertsPerToken, renormalize } = this.#config.moe!;
        const [output, epilogue] = this.#partial
          ? [this.#partial, "store"] as const
          : [this.#x, "add"] as const;
        const routing = { router, gateUp, down, expertsPerToken, renormalize };
        ops.moe({ input: this.#x, norm, ...routing, output, epilogue });
        if (this.#partial) ops.allReduce(this.#partial, this.#x, "add");
      }
    }
  }

  /** x += input · weightᵀ + bias, summed over the ranks. */
  #addProduct(
    ops: Ops,
    input: Activation,
    weight: Matrix,
    bias: Vector | null,
    next: LinearArgs["next"],
  ): void {
    if (this.#partial === null) {
      ops.linear({ input, weight, bias: bias ?? undefined, output: this.#x, epilogue: "add", next });
    } else {
      ops.linear({ input, weight, bias: bias ?? undefined, output: this.#partial, epilogue: "store" });
      ops.allReduce(this.#partial, this.#x, "add");
    }
  }

  /** A norm of the residual stream; see `normScale`. */
  #norm(weight: Vector): Norm {
    const { rmsNormEpsilon, hiddenSize } = this.#config;
    return { weight, epsilon: rmsNormEpsilon * normScale(hiddenSize) ** 2 };
  }

  #headNorm(weight: Vector): Norm {
    return { weight, epsilon: this.#config.rmsNormEpsilon };
  }
}
