// Which tensors make up which matrix on the device: q|k|v and gate|up put together by rows, experts stacked, and
// of everything this rank's share. The plan needs no weights, so the same description serves loading, dummy weights
// and the estimate of memory.
//
// Tensor names are those of Llama's Hugging Face checkpoints; families bring theirs there (`families/tensors.ts`).
//
// Kernels take widths in eights. The residual stream and the feed-forward's inner dimension may have any width: they
// are padded with zeros, which change nothing. Only a norm's mean would see them; its weights and epsilon make up for
// that (see `normScale`).

import type { DType } from "../../kernels/formats/mod.ts";
import { matrixBytes, type MatrixSpec } from "../../kernels/ops.ts";
import type { ModelConfig } from "../model/config.ts";
import { type DecoderTree, type FeedForward, mapTree } from "../model/layers.ts";
import type { Shard } from "./shard.ts";
import { headRanges, innerShare, paddedWidth, type Range, vocabRange } from "./shard.ts";

/** A block of one stored matrix. */
export interface MatrixPiece {
  /** Name in the checkpoint. */
  readonly tensor: string;
  /** Shape of the stored tensor. */
  readonly shape: readonly [rows: number, columns: number];
  /** Rows of the tensor that are taken. */
  readonly rows: Range;
  /** Columns of the tensor that are taken. */
  readonly columns: Range;
  /** Rows on the device: zeros follow the tensor's. */
  readonly height: number;
  /** Columns on the device. */
  readonly width: number;
}

/** A matrix on the device: its pieces' rows one after the other, expert after expert. */
export interface MatrixPlan {
  /** What the matrix looks like on the device. */
  readonly spec: MatrixSpec;
  /** Its rows, from top to bottom. */
  readonly pieces: readonly MatrixPiece[];
}

/** A vector on the device: parts of stored vectors one after the other. */
export interface VectorPlan {
  /** Name for messages. */
  readonly name: string;
  /** What dummy weights fill it with: 1 for norms, 0 for biases. */
  readonly neutral: 0 | 1;
  /** What every stored number is multiplied by. */
  readonly scale: number;
  /** Parts of tensors, one after the other. */
  readonly pieces: readonly VectorPiece[];
}

/** Part of a stored vector. */
export interface VectorPiece {
  /** Name in the checkpoint. */
  readonly tensor: string;
  /** Length of the stored tensor. */
  readonly length: number;
  /** What of it is taken. */
  readonly range: Range;
  /** Length on the device: neutral numbers follow the tensor's. */
  readonly width: number;
}

/**
 * What the weights of a norm over `width` numbers are multiplied by where zeros are added up to `paddedWidth`: the
 * mean square shrinks by this factor's square, and epsilon has to shrink with it.
 */
export function normScale(width: number): number {
  return Math.sqrt(width / paddedWidth(width));
}

/** What a matrix is for, as far as its format depends on it. */
export type MatrixRole = "layer" | "router" | "vocabulary";

/** Chooses the format of a matrix with `columns` columns that is made of these pieces. */
export type ChooseType = (role: MatrixRole, pieces: readonly MatrixPiece[], columns: number) => DType;

/** Where all of one rank's weights come from. */
export type DecoderPlan = DecoderTree<MatrixPlan, VectorPlan>;

/**
 * The plan of one rank's weights.
 * @throws ModelError when the model does not divide by the number of ranks
 */
export function planDecoder(config: ModelConfig, typeOf: ChooseType, shard: Shard): DecoderPlan {
  const { hiddenSize: hidden, vocabSize } = config;
  const vocab = vocabRange(config, shard);
  const rows = { start: vocab.start, end: vocab.start + vocab.rows };
  const vocabulary = (name: string) =>
    matrix(typeOf, "vocabulary", name, [piece(name, [vocabSize, hidden], rows, all(hidden))]);
  const builder = new LayerPlanner(config, typeOf, shard);
  return {
    embedding: vocabulary("model.embed_tokens.weight"),
    layers: Array.from({ length: config.numLayers }, (_, layer) => builder.layer(layer)),
    finalNorm: hiddenNorm("model.norm.weight", hidden, config.logitsMultiplier),
    head: config.tieEmbeddings ? null : vocabulary("lm_head.weight"),
  };
}

class LayerPlanner {
  readonly #config: ModelConfig;
  readonly #typeOf: ChooseType;
  readonly #shard: Shard;

  constructor(config: ModelConfig, typeOf: ChooseType, shard: Shard) {
    this.#config = config;
    this.#typeOf = typeOf;
    this.#shard = shard;
  }

  layer(index: number): DecoderPlan["layers"][number] {
    const config = this.#config;
    const { hiddenSize: hidden, headDim } = config;
    const prefix = `model.layers.${index}`;
    const attention = `${prefix}.self_attn`;
    const { query, kv } = headRanges(config, this.#shard);
    const queryRows = scaled(query, headDim);
    const kvRows = scaled(kv, headDim);
    const parts = [
      ["q_proj", config.numHeads * headDim, queryRows],
      ["k_proj", config.numKvHeads * headDim, kvRows],
      ["v_proj", config.numKvHeads * headDim, kvRows],
    ] as const;
    const first = this.#shard.rank === 0;
    const before = config.norms !== "after", after = config.norms !== "before";
    const norm = (wanted: boolean, name: string) =>
      wanted ? hiddenNorm(`${prefix}.${name}_layernorm.weight`, hidden) : null;
    /** Norm of q or k: the same for every head, or a number for each of them all. */
    const headNorm = (name: "q" | "k", total: number, range: Range) => {
      const tensor = `${attention}.${name}_norm.weight`;
      if (config.qkNorm === "none") return null;
      return config.qkNorm === "heads"
        ? vector(tensor, headDim, 1)
        : joined(tensor, 1, [{ tensor, length: total, range }]);
    };
    return {
      inputNorm: norm(before, "input"),
      qkv: this.#matrix(
        `${attention}.qkv`,
        parts.map(([name, total, range]) =>
          piece(`${attention}.${name}.weight`, [total, hidden], range, all(hidden))
        ),
      ),
      qkvBias: config.qkvBias
        ? joined(
          `${attention}.qkv.bias`,
          0,
          parts.map(([name, total, range]) => ({
            tensor: `${attention}.${name}.bias`,
            length: total,
            range,
          })),
        )
        : null,
      qNorm: headNorm("q", parts[0][1], queryRows),
      kNorm: headNorm("k", parts[1][1], kvRows),
      sinks: config.attentionSinks
        ? joined(`${attention}.sinks`, 0, [
          { tensor: `${attention}.sinks`, length: config.numHeads, range: query },
        ])
        : null,
      output: this.#matrix(`${attention}.o_proj.weight`, [
        {
          ...piece(`${attention}.o_proj.weight`, [hidden, config.numHeads * headDim], all(hidden), queryRows),
          height: paddedWidth(hidden),
        },
      ]),
      outputBias: config.outputBias && first ? vector(`${attention}.o_proj.bias`, hidden, 0) : null,
      attentionNorm: norm(after, "attention_output"),
      postNorm: norm(before, "post_attention"),
      feedForward: config.moe && !config.moe.denseLayers.includes(index)
        ? this.#mixture(`${prefix}.mlp`)
        : this.#dense(`${prefix}.mlp`),
      feedForwardNorm: norm(after, "feedforward_output"),
    };
  }

  #dense(prefix: string): FeedForward<MatrixPlan, VectorPlan> {
    const { hiddenSize, intermediateSize, mlpBias } = this.#config;
    const inner = innerShare(intermediateSize, this.#shard);
    const first = this.#shard.rank === 0;
    return {
      type: "dense",
      gateUp: this.#matrix(`${prefix}.gate_up`, this.#gateUp(prefix, intermediateSize, inner), {
        layout: "paired",
      }),
      gateUpBias: mlpBias ? this.#gateUpBias(prefix, [prefix], intermediateSize, inner) : null,
      down: this.#matrix(`${prefix}.down_proj.weight`, [this.#down(prefix, intermediateSize, inner)]),
      downBias: mlpBias && first ? vector(`${prefix}.down_proj.bias`, hiddenSize, 0) : null,
    };
  }

  #mixture(prefix: string): FeedForward<MatrixPlan, VectorPlan> {
    const { hiddenSize } = this.#config;
    const { numExperts: experts, intermediateSize, biases } = this.#config.moe!;
    const first = this.#shard.rank === 0;
    const inner = innerShare(intermediateSize, this.#shard);
    const expert = (e: number) => `${prefix}.experts.${e}`;
    const each = <T>(make: (e: number) => readonly T[]) =>
      Array.from({ length: experts }, (_, e) => make(e)).flat();
    return {
      type: "moe",
      router: matrix(this.#typeOf, "router", `${prefix}.gate.weight`, [
        piece(`${prefix}.gate.weight`, [experts, hiddenSize], all(experts), all(hiddenSize)),
      ]),
      routerBias: biases ? vector(`${prefix}.gate.bias`, experts, 0) : null,
      gateUp: this.#matrix(
        `${prefix}.experts.gate_up`,
        each((e) => this.#gateUp(expert(e), intermediateSize, inner)),
        { experts, layout: "paired" },
      ),
      gateUpBias: biases ? this.#gateUpBias(prefix, each((e) => [expert(e)]), intermediateSize, inner) : null,
      down: this.#matrix(
        `${prefix}.experts.down_proj`,
        each((e) => [this.#down(expert(e), intermediateSize, inner)]),
        { experts },
      ),
      downBias: biases && first
        ? {
          name: `${prefix}.experts.down_proj.bias`,
          neutral: 0,
          scale: 1,
          pieces: each((e) => vector(`${expert(e)}.down_proj.bias`, hiddenSize, 0).pieces),
        }
        : null,
    };
  }

  /** Biases of gate and up of some feed-forwards. */
  #gateUpBias(prefix: string, parts: readonly string[], intermediateSize: number, inner: Share): VectorPlan {
    return {
      name: `${prefix}.gate_up.bias`,
      neutral: 0,
      scale: 1,
      pieces: parts.flatMap((part) =>
        ["gate_proj", "up_proj"].map((name) => ({
          tensor: `${part}.${name}.bias`,
          length: intermediateSize,
          ...inner,
        }))
      ),
    };
  }

  #matrix(
    name: string,
    pieces: readonly MatrixPiece[],
    extra: Pick<MatrixSpec, "experts" | "layout"> = {},
  ): MatrixPlan {
    return matrix(this.#typeOf, "layer", name, pieces, extra);
  }

  #gateUp(prefix: string, intermediateSize: number, inner: Share): MatrixPiece[] {
    const { hiddenSize } = this.#config;
    return ["gate_proj", "up_proj"].map((name) => ({
      ...piece(`${prefix}.${name}.weight`, [intermediateSize, hiddenSize], inner.range, all(hiddenSize)),
      height: inner.width,
    }));
  }

  #down(prefix: string, intermediateSize: number, inner: Share): MatrixPiece {
    const { hiddenSize } = this.#config;
    return {
      ...piece(`${prefix}.down_proj.weight`, [hiddenSize, intermediateSize], all(hiddenSize), inner.range),
      height: paddedWidth(hiddenSize),
      width: inner.width,
    };
  }
}

type Share = ReturnType<typeof innerShare>;

const all = (count: number): Range => ({ start: 0, end: count });
const scaled = (range: Range, by: number): Range => ({ start: range.start * by, end: range.end * by });
const length = (range: Range): number => range.end - range.start;

function piece(tensor: string, shape: readonly [number, number], rows: Range, columns: Range): MatrixPiece {
  return { tensor, shape, rows, columns, height: length(rows), width: paddedWidth(length(columns)) };
}

function matrix(
  typeOf: ChooseType,
  role: MatrixRole,
  name: string,
  pieces: readonly MatrixPiece[],
  extra: Pick<MatrixSpec, "experts" | "layout"> = {},
): MatrixPlan {
  const rows = pieces.reduce((sum, { height }) => sum + height, 0) / (extra.experts ?? 1);
  const columns = pieces[0]!.width;
  return { spec: { name, rows, columns, dtype: typeOf(role, pieces, columns), ...extra }, pieces };
}

function vector(tensor: string, size: number, neutral: 0 | 1): VectorPlan {
  const width = paddedWidth(size);
  return { name: tensor, neutral, scale: 1, pieces: [{ tensor, length: size, range: all(size), width }] };
}

function hiddenNorm(tensor: string, size: number, multiplier = 1): VectorPlan {
  return { ...vector(tensor, size, 1), scale: multiplier * normScale(size) };
}

/** Parts of stored vectors, one after the other, at their own lengths. */
function joined(name: string, neutral: 0 | 1, parts: readonly Omit<VectorPiece, "width">[]): VectorPlan {
  return { name, neutral, scale: 1, pieces: parts.map((part) => ({ ...part, width: length(part.range) })) };
}

/** All matrices and vectors of a plan, in the order in which they are used. */
export function planParts(plan: DecoderPlan): { matrices: MatrixPlan[]; vectors: VectorPlan[] } {
  const matrices: MatrixPlan[] = [], vectors: VectorPlan[] = [];
  mapTree(plan, (matrix) => matrices.push(matrix), (vector) => vectors.push(vector));
  return { matrices, vectors };
}

/** Bytes that one rank's weights take on its device, and the formats of its matrices, most bytes first. */
export function planSize(plan: DecoderPlan): { readonly bytes: number; readonly formats: readonly DType[] } {
  const { matrices, vectors } = planParts(plan);
  const byFormat = new Map<DType, number>();
  for (const { spec } of matrices) {
    byFormat.set(spec.dtype, (byFormat.get(spec.dtype) ?? 0) + matrixBytes(spec));
  }
  const sorted = [...byFormat].sort(([, a], [, b]) => b - a);
  let bytes = sorted.reduce((sum, [, bytes]) => sum + bytes, 0);
  for (const { pieces } of vectors) {
    for (const { width } of pieces) bytes += width * 4;
  }
  return { bytes, formats: sorted.map(([dtype]) => dtype) };
}
