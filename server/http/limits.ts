// Bounds on what one HTTP request may ask, checked before anything is allocated for it. Those on sampling
// parameters stand in `engine/params.ts`.

/** Largest values that a request may have. */
export const httpLimits = {
  /** Nesting of a JSON body: deeper than any tool schema, shallower than any stack. */
  jsonDepth: 64,
  /** Keys of all objects of a body, or of a text in it that is JSON itself. */
  jsonKeys: 65_536,
  /** Elements of all its lists and objects: enough for 128 prompts of 2,048 ids. Checking them takes 0.2 s. */
  jsonValues: 2 ** 18,
  /** Of `tools`, as `isSmall` counts: characters per token of the context, but at least and at most so many. */
  toolsPerToken: 16,
  leastToolsSize: 64 * 1024,
  mostToolsSize: 1024 * 1024,
  /** Of `chat_template_kwargs`. */
  templateArgsSize: 64 * 1024,
  messages: 4096,
  contentParts: 1024,
  tools: 128,
  /** Texts of which the output has to be one. */
  grammarChoices: 4096,
  toolCallsPerMessage: 128,
  /** Completions per prompt. */
  choices: 128,
  /** Prompts times completions. */
  generations: 1024,
  /** Texts to embed, or documents to rank, in one request; OpenAI's number. */
  embeddings: 2048,
  /** Characters of names and ids. */
  nameLength: 256,
  saltLength: 256,
  /** Lists of token ids to decode, or texts to encode, in one request. */
  tokenizeBatch: 1024,
} as const;
