// The bodies of all answers with status 200, for `GET /openapi.json` and for the tests that hold the answers to them.
// The server does not check what it sends against these.

import { z } from "zod";

const text = z.string();
const count = z.int().min(0);
const flag = z.boolean();
const number = z.number();

/** Token counts. */
export const usage = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count }),
});

const finishReason = z.enum(["stop", "length", "tool_calls", "abort"]);
const matchedStop = z.union([text, count]).nullable();
const tokenLogprob = z.object({ token: text, logprob: number, bytes: z.array(count) });
const chatLogprobs = z.object({
  content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) })),
});

/** POST /v1/chat/completions, without a stream. */
export const chatAnswer = z.object({
  id: text,
  created: count,
  model: text,
  object: z.literal("chat.completion"),
  choices: z.array(z.object({
    index: count,
    message: z.object({
      role: z.literal("assistant"),
      content: text.nullable(),
      reasoning_content: text.optional(),
      tool_calls: z.array(z.object({
        id: text,
        type: z.literal("function"),
        function: z.object({ name: text, arguments: text }),
      })).optional(),
    }),
    logprobs: chatLogprobs.nullable(),
    finish_reason: finishReason,
    matched_stop: matchedStop,
  })),
  usage,
});

/** POST /v1/completions, without a stream. */
export const completionAnswer = z.object({
  id: text,
  created: count,
  model: text,
  object: z.literal("text_completion"),
  choices: z.array(z.object({
    index: count,
    text,
    logprobs: z.object({
      tokens: z.array(text),
      token_logprobs: z.array(number.nullable()),
      top_logprobs: z.array(z.record(text, number).nullable()).nullable(),
      text_offset: z.array(count),
    }).nullable(),
    finish_reason: finishReason,
    matched_stop: matchedStop.optional(),
  })),
  usage,
});

const card = z.object({
  id: text,
  object: z.literal("model"),
  created: count,
  owned_by: text,
  root: text,
  parent: z.null(),
  max_model_len: count,
  context_length: count,
  capabilities: z.array(text),
  type: z.literal("model"),
  display_name: text,
  created_at: text,
});

const codexModel = z.object({
  slug: text,
  display_name: text,
  description: z.null(),
  supported_reasoning_levels: z.array(z.never()),
  shell_type: text,
  visibility: text,
  supported_in_api: flag,
  priority: count,
  upgrade: z.null(),
  base_instructions: text,
  supports_reasoning_summaries: flag,
  support_verbosity: flag,
  default_verbosity: z.null(),
  apply_patch_tool_type: z.null(),
  truncation_policy: z.object({ mode: text, limit: count }),
  supports_parallel_tool_calls: flag,
  context_window: count,
  experimental_supported_tools: z.array(text),
  input_modalities: z.array(text),
});

/** GET /v1/models/{id}. */
export const modelAnswer = card;
/** GET /v1/models. */
export const modelsAnswer = z.object({
  object: z.literal("list"),
  data: z.array(card),
  models: z.array(codexModel),
  has_more: flag,
  first_id: text,
  last_id: text,
});

/** Log-probability (null for a prompt's first token), token, and its text if asked for. */
const entry = z.array(z.union([number, text, z.null()])).length(3);

const generated = z.object({
  index: count.optional(),
  text: text.optional(),
  output_ids: z.array(count),
  meta_info: z.object({
    id: text,
    finish_reason: z.union([
      z.object({ type: z.literal("stop"), matched: z.union([text, count]) }),
      z.object({ type: z.literal("length"), length: count }),
      z.object({ type: z.literal("abort"), message: text }),
    ]).nullable(),
    prompt_tokens: count,
    completion_tokens: count,
    cached_tokens: count,
    e2e_latency: number,
    output_token_logprobs: z.array(entry).optional(),
    output_top_logprobs: z.array(z.array(entry)).optional(),
    input_token_logprobs: z.array(entry).optional(),
    input_top_logprobs: z.array(z.array(entry).nullable()).optional(),
  }),
});

/** POST /generate, without a stream: a list for a list of prompts or several choices. */
export const generateAnswer = z.union([generated, z.array(generated)]);
/** POST /abort_request: requests that were ended. */
export const abortAnswer = z.object({ aborted: count });
/** POST /tokenize: lists for a list of prompts. */
export const tokenizeAnswer = z.object({
  tokens: z.union([z.array(count), z.array(z.array(count))]),
  count: z.union([count, z.array(count)]),
  max_model_len: count,
});
/** POST /detokenize. */
export const detokenizeAnswer = z.object({ text: z.union([text, z.array(text)]) });
/** GET /health. */
export const healthAnswer = z.object({
  status: z.enum(["ok", "busy"]),
  replicas: z.array(z.object({ dp_rank: count, status: z.enum(["ok", "busy", "unresponsive", "dead"]) }))
    .optional(),
});
/** GET /health_generate. */
export const healthGenerateAnswer = z.object({ status: z.literal("ok") });
/** POST /flush_cache. */
export const flushAnswer = z.object({ flushed: z.literal(true) });

/** GET /server_info. */
export const serverInfoAnswer = z.object({
  model_id: text,
  model_path: text,
  tokenizer_path: text,
  served_model_name: text,
  version: text,
  status: z.enum(["ready", "draining"]),
  device: text,
  tp_size: count,
  dp_size: count,
  pp_size: count,
  load_balance_method: text,
  disaggregation_mode: text,
  is_embedding: flag,
  context_length: count,
  max_total_tokens: count,
  max_total_num_tokens: count,
  page_size: count,
  kv_cache_dtype: text,
  max_running_requests: count,
  skip_tokenizer_init: flag,
});

/** GET /model_info. */
export const modelInfoAnswer = z.object({
  model_path: text,
  tokenizer_path: text,
  served_model_name: text,
  is_generation: flag,
  has_image_understanding: flag,
  has_audio_understanding: flag,
  model_type: text,
  architectures: z.array(text),
  vocab_size: count,
  max_model_len: count,
  preferred_sampling_params: z.null(),
  default_sampling_params: z.record(text, z.number()),
});

/** GET /debug/scheduler. */
export const schedulerStateAnswer = z.object({
  counters: z.record(text, z.number()),
  requests: z.array(z.object({
    id: text,
    phase: z.enum(["waiting", "prefill", "decode"]),
    prompt_tokens: count,
    computed_tokens: count,
    cached_tokens: count,
    output_tokens: count,
  })),
  runs: z.array(z.object({ depth: count, tokens: count, locks: count, hits: count })),
  runs_total: count,
});

/** GET /v1/loads. */
export const loadsAnswer = z.object({
  timestamp: text,
  dp_rank_count: count,
  loads: z.array(z.object({
    dp_rank: count,
    num_running_reqs: count,
    num_waiting_reqs: count,
    num_waiting_uncached_tokens: count,
    num_total_reqs: count,
    num_used_tokens: count,
    max_total_num_tokens: count,
    token_usage: number,
    gen_throughput: number,
    cache_hit_rate: number,
    utilization: number,
    max_running_requests: count,
  })),
});
