// What this API does not hand on to constrained decoding is refused by name: ignored, it would give an answer that
// only looks as if it had been obeyed.

import { z } from "zod";

const reason = "constrained decoding is for /v1/chat/completions, /v1/completions and /generate";

/** A tool's `strict`. */
export const strictSwitch = z.literal(false, { error: `strict tools are not supported: ${reason}` })
  .nullish();

/** The form of an answer's text: plain. */
export const textFormat = z.object({
  type: z.literal("text", { error: `only text is supported: ${reason}` }),
}).nullish();

/** A field that would ask for a form, and must not be there. */
export const noFormat = z.null({ error: `not supported: ${reason}` }).optional();
