// The decoder: one for every family, since they differ by flags of their configuration (`config.ts` names and explains
// each): where norms stand, biases, q/k norm, experts, windows, rotation, multipliers, caps, sinks, tied head.
//
// Residual blocks (Llama, arXiv 2302.13971) with grouped-query attention (arXiv 2305.13245), rotary positions (arXiv
// 2104.09864) and a gated feed-forward (arXiv 2002.05202). Written against `Ops`, so it runs on every backend; each
// call is one fusable operation, five to nine a layer.
//
// The residual stream is kept divided by `residualMultiplier`: what is added to it then needs no factor, and a norm,
// which does not see one, only a smaller epsilon.

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
import type { ModelConfig, RopeConfig } from "./config.ts";
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
  /** Of each layer. */
  readonly #ropes: readonly RopeTable[];
  readonly #ranks: number;
  /** Residual stream [T, H]. */
  readonly #x: Activation;
  readonly #qkv: Activation;
  readonly #attended: Activation;
  readonly #gated: Activation | null;
  /** What is not in the residual stream yet: this rank's part of a sum, or what a norm comes behind. */
  readonly #partial: Activation | null;
  /** Sums of squares of q and of k, and this rank's part of them, where norms go over all ranks' heads. */
  readonly #squares: { readonly own: Activation; readonly sums: Activation } | null;

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
    const ropes = new Map<RopeConfig | null, RopeTable>();
    for (const rope of new Set(weights.layers.map((_, layer) => layerRope(config, layer)))) {
      const { cosine, sine, half } = ropeTables(rope, config, sizes.contextLength);
      ropes.set(rope, backend.createRopeTable(cosine, sine, half));
    }
    this.#config = config;
    this.#weights = weights;
    this.#heads = heads;
    this.#ropes = weights.layers.map((_, layer) => ropes.get(layerRope(config, layer))!);
    this.#ranks = shard.size;
    const residual = () => backend.createActivation(hiddenSize, "residual");
    this.#x = residual();
    this.#qkv = backend.createActivation((heads.numHeads + 2 * heads.numKvHeads) * heads.headDim, "hidden");
    this.#attended = backend.createActivation(heads.numHeads * heads.headDim, "attended");
    const dense = weights.layers.find(({ feedForward }) => feedForward.type === "dense")?.feedForward;
    this.#gated = dense ? backend.createActivation(dense.down.spec.columns, "hidden") : null;
    this.#partial = shard.size > 1 || config.norms !== "before" ? residual() : null;
    const squares = () => backend.createActivation(8, "residual");
    this.#squares = shard.size > 1 && config.qkNorm === "width" ? { own: squares(), sums: squares() } : null;
  }

  /** Records one forward over the current plan. */
  forward(ops: Ops): void {
    const x = this.#x, { embedding, finalNorm } = this.#weights;
    const layers = ops.draws ? [] : this.#weights.layers;
    const scale = this.#config.embeddingMultiplier / this.#config.residualMultiplier;
    if (this.#ranks === 1 && !ops.draws) {
      ops.embed(embedding, x, scale);
    } else if (!ops.draws) {
      // Each rank holds a slice of the vocabulary and contributes zeros for other tokens.
      ops.embed(embedding, this.#partial!, scale);
      ops.allReduce(this.#partial!, x, "store");
    }
    layers.forEach((_, i) => this.#layer(ops, i));
    ops.sample({
      input: x,
      norm: this.#norm(finalNorm),
      head: this.#weights.head ?? embedding,
      softCap: this.#config.logitSoftCap,
    });
  }

  #layer(ops: Ops, index: number): void {
    const layer = this.#weights.layers[index]!;
    const { attentionMultiplier: scale, attentionSoftCap: softCap, slidingWindow, qkNorm } = this.#config;
    ops.linear({
      input: this.#x,
      norm: this.#norm(layer.inputNorm),
      weight: layer.qkv,
      bias: layer.qkvBias ?? undefined,
      output: this.#qkv,
      epilogue: "store",
    });
    if (qkNorm === "width") this.#normAllHeads(ops, layer);
    ops.attention({
      qkv: this.#qkv,
      heads: this.#heads,
      qNorm: qkNorm === "heads" ? this.#headNorm(layer.qNorm!) : undefined,
      kNorm: qkNorm === "heads" ? this.#headNorm(layer.kNorm!) : undefined,
      rope: this.#ropes[index]!,
      output: this.#attended,
      layer: index,
      scale,
      window: slidingWindow[index] ?? null,
      softCap,
      sinks: layer.sinks ?? undefined,
    });
    const { feedForward } = layer;
    const next = feedForward.type === "dense"
      ? { norm: this.#norm(layer.postNorm), weight: feedForward.gateUp }
      : undefined;
    this.#addProduct(ops, this.#attended, layer.output, layer.outputBias, layer.attentionNorm, next);
    this.#feedForward(ops, layer, this.#weights.layers[index + 1]);
  }

  #feedForward(ops: Ops, layer: LayerWeights, following: LayerWeights | undefined): void {
    const norm = this.#norm(layer.postNorm), { gate } = this.#config;
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
          epilogue: "gate-mul",
          gate,
          next: { weight: weights.down },
        });
        const next = following && { norm: this.#norm(following.inputNorm), weight: following.qkv };
        this.#addProduct(ops, gated, weights.down, weights.downBias, layer.feedForwardNorm, next);
        return;
      }
      case "moe": {
        const target = this.#target(layer.feedForwardNorm);
        ops.moe({ ...weights, ...this.#config.moe!, ...target, input: this.#x, norm: norm!, gate });
        this.#addPartial(ops, layer.feedForwardNorm);
      }
    }
  }

  /** RMS norm of all query heads, and of all key heads, of all ranks together. */
  #normAllHeads(ops: Ops, { qNorm, kNorm }: LayerWeights): void {
    const { numHeads, headDim } = this.#heads, qkv = this.#qkv, squares = this.#squares;
    const parts = [[qNorm!, 0], [kNorm!, numHeads * headDim]] as const;
    if (squares !== null) {
      parts.forEach(([{ length }, first], i) => ops.squares(qkv, first, length, squares.own, i));
      ops.allReduce(squares.own, squares.sums, "store");
    }
    parts.forEach(([weight, first], column) => {
      const norm = this.#headNorm(weight), count = weight.length * this.#ranks;
      const whole = squares === null ? undefined : { sums: squares.sums, column, count };
      ops.norm({ input: qkv, first, norm, output: qkv, epilogue: "store", whole });
    });
  }

  /** x += norm(input · weightᵀ + bias), summed over the ranks. */
  #addProduct(
    ops: Ops,
    input: Activation,
    weight: Matrix,
    bias: Vector | null,
    norm: Vector | null,
    following: LinearArgs["next"],
  ): void {
    const target = this.#target(norm), next = target.epilogue === "add" ? following : undefined;
    ops.linear({ input, weight, bias: bias ?? undefined, ...target, next });
    this.#addPartial(ops, norm);
  }

  /** Where a product goes: into the residual stream, if nothing comes between. */
  #target(norm: Vector | null): { readonly output: Activation; readonly epilogue: "store" | "add" } {
    return this.#ranks === 1 && norm === null
      ? { output: this.#x, epilogue: "add" }
      : { output: this.#partial!, epilogue: "store" };
  }

  /** The rest of the way, for what is not there yet. */
  #addPartial(ops: Ops, norm: Vector | null): void {
    const input = this.#partial!, output = this.#x;
    if (this.#ranks > 1) {
      ops.allReduce(input, norm === null ? output : input, norm === null ? "add" : "store");
    }
    if (norm === null) return;
    // What comes out is as large as the norm's weights make it; only its input is not divided.
    const { epsilon } = this.#norm(norm)!, undivided = epsilon * this.#config.residualMultiplier ** 2;
    ops.norm({ input, first: 0, norm: { weight: norm, epsilon: undivided }, output, epilogue: "add" });
  }

  /** A norm of the residual stream; see `normScale`. */
  #norm(weight: Vector): Norm;
  #norm(weight: Vector | null): Norm | undefined;
  #norm(weight: Vector | null): Norm | undefined {
    if (weight === null) return undefined;
    const { rmsNormEpsilon, residualMultiplier, hiddenSize } = this.#config;
    return { weight, epsilon: rmsNormEpsilon * (normScale(hiddenSize) / residualMultiplier) ** 2 };
  }

  #headNorm(weight: Vector): Norm {
    return { weight, epsilon: this.#config.rmsNormEpsilon };
  }
}

/** How a layer rotates; null if it does not. */
function layerRope(config: ModelConfig, layer: number): RopeConfig | null {
  if (config.unrotatedLayers.includes(layer)) return null;
  return config.slidingWindow[layer] == null ? config.rope : config.localRope ?? config.rope;
}
