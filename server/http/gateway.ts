// What a gateway asks a worker: who are you, what do you serve, how busy are you. The fields are those that SGLang's
// gateway reads; this is what makes several of these servers usable behind it without a router of our own.

import { Hono } from "hono";
import { samplerFields, samplerOf } from "../../engine/sampler_fields.ts";
import { version } from "../cli/version.ts";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import { replicasOf } from "./engine_api.ts";
import { scrape } from "./scrape.ts";
import type { Service } from "./service.ts";

/** What gateways ask: /server_info, /model_info, /v1/loads, /flush_cache. */
export function gatewayRoutes(service: Service): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  for (const path of ["/server_info", "/get_server_info"]) {
    app.get(path, (c) => c.json(serverInfo(service)));
  }
  for (const path of ["/model_info", "/get_model_info"]) {
    app.get(path, (c) => c.json(modelInfo(service)));
  }
  app.get("/v1/loads", async (c) => c.json(await loads(service)));
  app.post("/flush_cache", async (c) => {
    if (await service.ask(service.engine.flush())) return c.json({ flushed: true });
    throw new ApiError(400, "requests are running; the cache can be flushed only when none are", {
      code: "busy",
    });
  });
  return app;
}

function serverInfo(service: Service): Record<string, unknown> {
  const { model } = service.engine, replicas = replicasOf(service.engine);
  return {
    model_id: service.modelName,
    model_path: model.path,
    tokenizer_path: model.path,
    served_model_name: service.modelName,
    version,
    status: service.state,
    device: model.device.description,
    tp_size: model.tp,
    dp_size: replicas.length,
    pp_size: 1,
    load_balance_method: replicas.length > 1 ? "cache_aware" : "round_robin",
    disaggregation_mode: "null",
    is_embedding: service.task === "embed",
    context_length: model.contextLength,
    max_total_tokens: model.numPages * model.pageSize,
    max_total_num_tokens: model.numPages * model.pageSize,
    page_size: model.pageSize,
    kv_cache_dtype: model.kvDType,
    max_running_requests: model.maxRunningRequests,
    skip_tokenizer_init: !model.hasTokenizer,
  };
}

function modelInfo(service: Service): Record<string, unknown> {
  const { model } = service.engine;
  return {
    model_path: model.path,
    tokenizer_path: model.path,
    served_model_name: service.modelName,
    is_generation: service.task === "generate",
    has_image_understanding: false,
    has_audio_understanding: false,
    model_type: model.config.modelType,
    architectures: [model.config.architecture],
    vocab_size: model.config.vocabSize,
    max_model_len: model.contextLength,
    preferred_sampling_params: null,
    default_sampling_params: Object.fromEntries(
      samplerFields.map(({ name, jsonName }) => [jsonName, samplerOf({}, model.generationDefaults)[name]]),
    ),
  };
}

async function loads(service: Service): Promise<Record<string, unknown>> {
  const scraped = (await scrape(service)).filter(({ engine }) => engine.health === "ready");
  return {
    timestamp: new Date().toISOString(),
    dp_rank_count: replicasOf(service.engine).length,
    loads: scraped.map(({ rank, engine: { model }, counters }) => {
      const capacity = counters.totalPages * counters.pageSize;
      const { promptTokensTotal, cachedTokensTotal } = counters;
      return {
        dp_rank: rank,
        num_running_reqs: counters.runningRequests,
        num_waiting_reqs: counters.queuedRequests,
        num_waiting_uncached_tokens: 0,
        num_total_reqs: counters.runningRequests + counters.queuedRequests,
        num_used_tokens: counters.usedTokens,
        max_total_num_tokens: capacity,
        token_usage: capacity > 0 ? counters.usedTokens / capacity : 0,
        gen_throughput: counters.generationThroughput,
        cache_hit_rate: promptTokensTotal > 0 ? cachedTokensTotal / promptTokensTotal : 0,
        utilization: counters.runningRequests / Math.max(1, model.maxRunningRequests),
        max_running_requests: model.maxRunningRequests,
      };
    }),
  };
}
