// The tree of a decoder's weights: which matrices and vectors there are and how they hang together. Written once for
// all that has this shape: the plan that says where weights come from, and the weights on the device.

/** Feed-forward part of a layer. A mixture has the rows of all experts, one expert after the other. */
export type FeedForward<M, V> =
  & {
    /** [2F, H] or experts × [2F, H], gate rows then up rows. */
    readonly gateUp: M;
    /** [2F] or [experts · 2F] */
    readonly gateUpBias: V | null;
    /** [H, F] or experts × [H, F] */
    readonly down: M;
    /** [H] or [experts · H] */
    readonly downBias: V | null;
  }
  & (
    | { readonly type: "dense" }
    | {
      readonly type: "moe";
      /** [experts, H] */
      readonly router: M;
      /** [experts] */
      readonly routerBias: V | null;
    }
  );

/** One layer, or one rank's share of it; M stands for a matrix, V for a vector. Null where the model has none. */
export interface Layer<M, V> {
  /** Norm in front of the attention, [H]. */
  readonly inputNorm: V | null;
  /** [(heads + 2 kvHeads) headDim, H]: q rows, then k, then v. */
  readonly qkv: M;
  /** [(heads + 2 kvHeads) headDim] */
  readonly qkvBias: V | null;
  /** Norm of each query head, [headDim], or of all of them, [heads · headDim]. */
  readonly qNorm: V | null;
  /** The same of key heads. */
  readonly kNorm: V | null;
  /** A logit of each head, [heads]. */
  readonly sinks: V | null;
  /** [H, heads · headDim] */
  readonly output: M;
  /** [H] */
  readonly outputBias: V | null;
  /** Norm behind the attention, [H]. */
  readonly attentionNorm: V | null;
  /** Norm in front of the feed-forward part, [H]. */
  readonly postNorm: V | null;
  /** Dense, or a mixture of experts. */
  readonly feedForward: FeedForward<M, V>;
  /** Norm behind the feed-forward part, [H]. */
  readonly feedForwardNorm: V | null;
}

/** All of a decoder, or one rank's share. With several ranks, biases added after a reduction stand on rank 0 only. */
export interface DecoderTree<M, V> {
  /** [V, H] */
  readonly embedding: M;
  /** In order of depth. */
  readonly layers: readonly Layer<M, V>[];
  /** [H] */
  readonly finalNorm: V;
  /** [V, H]; null where the embedding serves as head too. */
  readonly head: M | null;
}

/** The tree with every matrix and vector replaced, in the order in which a forward uses them. */
export function mapTree<M, V, N, W>(
  tree: DecoderTree<M, V>,
  matrix: (matrix: M) => N,
  vector: (vector: V) => W,
): DecoderTree<N, W> {
  const maybe = (v: V | null) => v === null ? null : vector(v);
  const feedForward = (part: FeedForward<M, V>): FeedForward<N, W> =>
    part.type === "moe"
      ? {
        type: "moe",
        router: matrix(part.router),
        routerBias: maybe(part.routerBias),
        gateUp: matrix(part.gateUp),
        gateUpBias: maybe(part.gateUpBias),
        down: matrix(part.down),
        downBias: maybe(part.downBias),
      }
      : {
        type: "dense",
        gateUp: matrix(part.gateUp),
        gateUpBias: maybe(part.gateUpBias),
        down: matrix(part.down),
        downBias: maybe(part.downBias),
      };
  return {
    embedding: matrix(tree.embedding),
    layers: tree.layers.map((layer) => ({
      inputNorm: maybe(layer.inputNorm),
      qkv: matrix(layer.qkv),
      qkvBias: maybe(layer.qkvBias),
      qNorm: maybe(layer.qNorm),
      kNorm: maybe(layer.kNorm),
      sinks: maybe(layer.sinks),
      output: matrix(layer.output),
      outputBias: maybe(layer.outputBias),
      attentionNorm: maybe(layer.attentionNorm),
      postNorm: maybe(layer.postNorm),
      feedForward: feedForward(layer.feedForward),
      feedForwardNorm: maybe(layer.feedForwardNorm),
    })),
    finalNorm: vector(tree.finalNorm),
    head: tree.head === null ? null : matrix(tree.head),
  };
}
