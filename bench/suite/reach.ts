// What the figures are held against: llama.cpp's CUDA build on an H200 with the same shape (`llama-bench`,
// `llama-batched-bench -npp 128 -ntg 128`, f16 weights, September 2026), and what radish aims at there.

/** A figure's neighbours in the table; null where there is none. */
export interface Reach {
  readonly peer: string | null;
  readonly reach: number | null;
}

const qwen = "qwen3-0.6b";

/** By the name of a `Figure`. */
export const reaches: Readonly<Record<string, Reach>> = {
  [`${qwen}: decode, 1 sequence, context 128`]: { peer: "675", reach: 1000 },
  [`${qwen}: decode, 8 sequences, context 128`]: { peer: "3,465", reach: 5000 },
  [`${qwen}: decode, 32 sequences, context 128`]: { peer: "9,517", reach: 14_000 },
  [`${qwen}: decode, 64 sequences, context 128`]: { peer: "14,359", reach: 20_000 },
  [`${qwen}: prefill, 2048 tokens`]: { peer: "54,000–62,000", reach: 62_000 },
  [`${qwen}: offline, 256 requests`]: { peer: null, reach: 15_000 },
  "qwen3-8b: decode, 1 sequence, context 128": { peer: null, reach: 200 },
  "qwen3-8b: products, 2048 rows": { peer: null, reach: 70 },
};
