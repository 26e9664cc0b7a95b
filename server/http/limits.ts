// Bounds on what one HTTP request may ask, checked before anything is allocated for it. Those on sampling
// parameters stand in `engine/params.ts`.

/** Largest values that a request may have. */
export const httpLimits = {
  /** Nesting of a JSON body: deeper than any tool schema, shallower than any stack. */
  jsonDepth: 64,
  messages: 4096,
  contentParts: 1024,
  tools: 128,
  toolCallsPerMessage: 128,
  /** Completions per prompt. */
  choices: 128,
  /** Prompts times completions. */
  generations: 1024,
  /** Characters of names and ids. */
  nameLength: 256,
  saltLength: 256,
  /** Lists of token ids to decode, or texts to encode, in one request. */
  tokenizeBatch: 1024,
} as const;
