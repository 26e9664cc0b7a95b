// The PTX modules: which source each is compiled from, and with which choices. A module is what the driver compiles and
// keeps together, so each holds the kernels of one choice; a model loads those that it needs.

import attention16 from "./ptx/attention_16.ptx" with { type: "text" };
import attention32 from "./ptx/attention_32.ptx" with { type: "text" };
import attention4 from "./ptx/attention_4.ptx" with { type: "text" };
import attention8 from "./ptx/attention_8.ptx" with { type: "text" };
import embed from "./ptx/embed.ptx" with { type: "text" };
import merge from "./ptx/merge.ptx" with { type: "text" };
import moe from "./ptx/moe.ptx" with { type: "text" };
import plainBf16 from "./ptx/plain_bf16.ptx" with { type: "text" };
import plainF16 from "./ptx/plain_f16.ptx" with { type: "text" };
import plainF32 from "./ptx/plain_f32.ptx" with { type: "text" };
import plainQ8 from "./ptx/plain_q8.ptx" with { type: "text" };
import prepare from "./ptx/prepare.ptx" with { type: "text" };
import rope from "./ptx/rope.ptx" with { type: "text" };
import sample from "./ptx/sample.ptx" with { type: "text" };
import skinnyBf16x16 from "./ptx/skinny_bf16_16.ptx" with { type: "text" };
import skinnyBf16x32 from "./ptx/skinny_bf16_32.ptx" with { type: "text" };
import skinnyBf16x64 from "./ptx/skinny_bf16_64.ptx" with { type: "text" };
import skinnyF16x16 from "./ptx/skinny_f16_16.ptx" with { type: "text" };
import skinnyF16x32 from "./ptx/skinny_f16_32.ptx" with { type: "text" };
import skinnyF16x64 from "./ptx/skinny_f16_64.ptx" with { type: "text" };
import skinnyQ8x16 from "./ptx/skinny_q8_16.ptx" with { type: "text" };
import skinnyQ8x32 from "./ptx/skinny_q8_32.ptx" with { type: "text" };
import skinnyQ8x64 from "./ptx/skinny_q8_64.ptx" with { type: "text" };
import tiledBf16 from "./ptx/tiled_bf16.ptx" with { type: "text" };
import tiledF16 from "./ptx/tiled_f16.ptx" with { type: "text" };
import tiledQ8 from "./ptx/tiled_q8.ptx" with { type: "text" };

/** PTX by the name of its module. */
export const modules = {
  attention_16: attention16,
  attention_32: attention32,
  attention_4: attention4,
  attention_8: attention8,
  embed,
  merge,
  moe,
  plain_bf16: plainBf16,
  plain_f16: plainF16,
  plain_f32: plainF32,
  plain_q8: plainQ8,
  prepare,
  rope,
  sample,
  skinny_bf16_16: skinnyBf16x16,
  skinny_bf16_32: skinnyBf16x32,
  skinny_bf16_64: skinnyBf16x64,
  skinny_f16_16: skinnyF16x16,
  skinny_f16_32: skinnyF16x32,
  skinny_f16_64: skinnyF16x64,
  skinny_q8_16: skinnyQ8x16,
  skinny_q8_32: skinnyQ8x32,
  skinny_q8_64: skinnyQ8x64,
  tiled_bf16: tiledBf16,
  tiled_f16: tiledF16,
  tiled_q8: tiledQ8,
} as const;

/** Name of a module. */
export type ModuleName = keyof typeof modules;
