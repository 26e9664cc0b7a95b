// The engine as a library: what a program that embeds it imports. README has ten lines that use it.
//
//   await using engine = await Engine.start({ ...defaultEngineOptions, modelDir });
//   const [answer] = await engine.generate([{ type: "text", text }], { ...defaultSamplingParams, maxTokens: 64 });

export {
  type Completion,
  Engine,
  type GenerateRequest,
  type Generation,
  type StartOptions,
} from "./engine.ts";
export { defaultEngineOptions, type EngineOptions, type ModelInfo, type StartProgress } from "./options.ts";
export {
  defaultSamplingParams,
  type ErrorCode,
  type FinishReason,
  type SamplingParams,
  type TokenLogprob,
} from "./params.ts";
export type { ChatMessage, Delta, PromptInput, TextLogprob } from "./messages.ts";
export type { SchedulerCounters } from "./scheduler/config.ts";
export { ModelError } from "./model/json.ts";
