// One sampled row: a token of the step whose logits are wanted, and how the next token is drawn from them.
//
// This is the only list of a row's parameters. The scheduler fills a record per row, the plan carries the records
// as words (posting objects between workers takes ten times as long), GPUs read the words as they are, and
// backends that sample row by row read them back with `sampledRow`.

/** How a token is drawn: penalties and bias, mask, temperature, top-k, top-p, min-p, draw, in this order. */
export interface Sampler {
  /** 0 means greedy: the lowest id among the largest logits. */
  readonly temperature: number;
  /** Keep the k most likely tokens (and all that tie with the k-th); 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set of most likely tokens whose probability reaches p; 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least this fraction as likely as the most likely one; 0 keeps all. */
  readonly minP: number;
  /** Subtracted once from the logit of every token already in the output. */
  readonly presencePenalty: number;
  /** Subtracted once per occurrence in the output. */
  readonly frequencyPenalty: number;
  /** Divides positive, multiplies negative logits of tokens in prompt or output; 1 is none. */
  readonly repetitionPenalty: number;
}

/** Draws from the model's own distribution. */
export const plainSampler: Sampler = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
};

/** Takes the most likely token. */
export const greedySampler: Sampler = { ...plainSampler, temperature: 0 };

/** Whether earlier tokens change the logits. */
export function isPenalized(row: Sampler): boolean {
  return row.presencePenalty !== 0 || row.frequencyPenalty !== 0 || row.repetitionPenalty !== 1;
}

/** Whether some tokens are left out of the draw. */
export function isFiltered(row: Sampler): boolean {
  return row.temperature > 0 && (row.topK > 0 || row.topP < 1 || row.minP > 0);
}

/** Values of {@link SampledRow.flags}. */
export const SampleFlag = {
  /** Draw a token, write it to the pool one past the row's last position, and return it. */
  Draw: 1,
  /** Do not draw: report the log-probability of the token that already stands there (prompt log-probabilities). */
  Score: 2,
  /** Draw later: keep the logits, one set for each row of the pool, for a plan that `draws`. The token means nothing. */
  Keep: 4,
} as const;

/** A sampled row, complete. */
export interface SampledRow extends Sampler {
  /** Index of the token, among the step's T tokens, whose logits are wanted. Ascending from row to row. */
  readonly token: number;
  /** Which sequence of the plan it belongs to, 0 ≤ sequence < B. */
  readonly sequence: number;
  /** {@link SampleFlag}. */
  readonly flags: number;
  /** Position where the row's output begins: earlier positions are prompt. */
  readonly promptLength: number;
  /** The seed's two words. The draw at position p is a function of (seed, p) alone. */
  readonly seedLow: number;
  /** The second word. */
  readonly seedHigh: number;
  /** How many alternatives to report: 0 = no log-probability, n + 1 = of the token and of the top n. */
  readonly logprobs: number;
  /** Added to the logits of these tokens; −Infinity forbids one. */
  readonly bias: readonly (readonly [token: number, value: number])[];
  /** A bit for each token, lowest first: ⌈V/32⌉ words; only tokens whose bit is set may be drawn. Absent: all may. */
  readonly mask?: Uint32Array;
}

/** The fields that are one word each, in the order of their words, and the words' type. */
const layout: { readonly [field in WordField]: "u32" | "f32" } = {
  token: "u32",
  sequence: "u32",
  flags: "u32",
  temperature: "f32",
  topK: "u32",
  topP: "f32",
  minP: "f32",
  presencePenalty: "f32",
  frequencyPenalty: "f32",
  repetitionPenalty: "f32",
  promptLength: "u32",
  seedLow: "u32",
  seedHigh: "u32",
  logprobs: "u32",
};

/** Fields that are one word each. */
export type WordField = Exclude<keyof SampledRow, "bias" | "mask">;
const fields = Object.keys(layout) as WordField[];

/** Words of a row. */
export const rowWords: number = fields.length;

/** Which word of a row holds a field. */
export const RowWord = Object.fromEntries(fields.map((field, i) => [field, i])) as {
  readonly [field in WordField]: number;
};

/** All sampled rows of a plan (S of them). */
export interface Sampling {
  /** S × {@link rowWords} words. */
  readonly rows: Uint32Array;
  /** Biases of all rows as parallel lists; `biasRow` indexes the rows, ascending. */
  readonly biasRow: Uint32Array;
  /** Token ids, parallel to `biasRow`. */
  readonly biasToken: Uint32Array;
  /** Values, parallel to `biasRow`. */
  readonly biasValue: Float32Array;
  /** Rows that have a mask, ascending. */
  readonly maskRow: Uint32Array;
  /** Their masks. In shared memory nothing is copied: they stay as they are until this plan has been answered. */
  readonly masks: readonly Uint32Array[];
}

/** Packs rows for a plan. */
export function packSampling(rows: readonly SampledRow[]): Sampling {
  const words = new Uint32Array(rows.length * rowWords), floats = new Float32Array(words.buffer);
  rows.forEach((row, s) =>
    fields.forEach((field, i) => {
      (layout[field] === "f32" ? floats : words)[s * rowWords + i] = row[field];
    })
  );
  const biases = rows.flatMap(({ bias }, s) => bias.map(([token, value]) => [s, token, value] as const));
  const masks = rows.flatMap(({ mask }, s) => mask === undefined ? [] : [{ s, mask }]);
  return {
    rows: words,
    maskRow: Uint32Array.from(masks, ({ s }) => s),
    masks: masks.map(({ mask }) => mask),
    biasRow: Uint32Array.from(biases, ([row]) => row),
    biasToken: Uint32Array.from(biases, ([, token]) => token),
    biasValue: Float32Array.from(biases, ([, , value]) => value),
  };
}

/** Number of sampled rows. */
export function sampleCount({ rows }: Sampling): number {
  return rows.length / rowWords;
}

/** The sampled row s, 0 ≤ s < S. */
export function sampledRow(sampling: Sampling, s: number): SampledRow {
  const at = s * rowWords, words = sampling.rows;
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const values = {} as Record<WordField, number>;
  fields.forEach((field, i) => values[field] = (layout[field] === "f32" ? floats : words)[at + i]!);
  const bias: [number, number][] = [];
  for (let i = sampling.biasRow.indexOf(s); i >= 0 && sampling.biasRow[i] === s; i++) {
    bias.push([sampling.biasToken[i]!, sampling.biasValue[i]!]);
  }
  const mask = maskOf(sampling, s);
  return { ...values, bias, ...(mask === undefined ? {} : { mask }) };
}

/** The mask of sampled row s, if it has one. */
export function maskOf({ maskRow, masks }: Sampling, s: number): Uint32Array | undefined {
  return masks[maskRow.indexOf(s)];
}

/** Whether a mask allows a token. */
export function allows(mask: Uint32Array, token: number): boolean {
  return (mask[token >> 5]! >>> (token & 31) & 1) === 1;
}

/** One whole-number field of all sampled rows, where the rest of them is not needed. */
export function rowField({ rows }: Sampling, field: "token" | "flags" | "logprobs"): Uint32Array {
  const at = RowWord[field];
  return Uint32Array.from({ length: rows.length / rowWords }, (_, s) => rows[s * rowWords + at]!);
}

/** All sampled rows of a plan. */
export function sampledRows(sampling: Sampling): SampledRow[] {
  return Array.from({ length: sampleCount(sampling) }, (_, s) => sampledRow(sampling, s));
}
