// How big the engine's tables are: context, rows, tokens a step, and pages of key/value cache, from what the model
// needs, what the device has and what the caller asked for. WebGPU does not tell how much memory is free, so on a
// real GPU it is found by trying.

import { type Backend, type HeadLayout, isGpu } from "../../kernels/ops.ts";
import { kvBytesPerToken, kvFormat } from "../../kernels/kv_format.ts";
import type { ModelConfig } from "../model/config.ts";
import type { StateSizes } from "../model/decoder.ts";
import type { EngineOptions } from "../options.ts";
import { spareRows } from "../workers/fairness.ts";

/** The part of `EngineOptions` that decides sizes. */
export type SizeOptions = Pick<
  EngineOptions,
  | "kvDType"
  | "contextLength"
  | "memoryBytes"
  | "numPages"
  | "pageSize"
  | "maxRunningRequests"
  | "maxPrefillTokens"
>;

/** Share of what could be allocated that pages take by default: activations and others need room too. */
const cacheShare = 0.8;
/** By default no more tokens than this number of full contexts, and on a GPU at least `generousTokens`. */
const defaultContexts = 16;
const generousTokens = 1 << 19;
/** By default no more bytes of cache than this on a CPU or a software GPU, whose memory other programs use too. */
const modestCacheBytes = 2 ** 30;

/**
 * Share of the system's memory beyond which no GPU is asked by default: one that shares it may be granted more than
 * the system can spare, which shows only when it is used.
 */
const systemShare = 0.5;

/** A size that cannot work; the message names the numbers and what to change. */
export class SizeError extends Error {}

/**
 * Chooses the sizes of a backend's state. `sharing` ranks live off the same memory, and each takes its part of what
 * is found free; `--memory` is of each rank. Rejects with `SizeError` when the pool would hold less than one page.
 */
export async function chooseSizes(
  backend: Backend,
  config: ModelConfig,
  heads: HeadLayout,
  options: SizeOptions,
  sharing = 1,
): Promise<StateSizes> {
  const { pageSize, kvDType } = options;
  if (pageSize < 1 || (pageSize & (pageSize - 1)) !== 0) {
    throw new SizeError(`the page size must be a power of two, not ${pageSize}`);
  }
  const contextLength = options.contextLength ?? config.maxPositions;
  if (contextLength > config.maxPositions) {
    throw new SizeError(
      `--context-length ${contextLength} is more than the model's ${config.maxPositions} positions`,
    );
  }
  const small = !isGpu(backend.info);
  const maxRows = (options.maxRunningRequests ?? (small ? 64 : 256)) + spareRows;
  const prefill = options.maxPrefillTokens ?? (small ? 512 : 2048);
  const bytesPerPage = kvBytesPerToken(kvFormat(backend, kvDType), heads, config.numLayers) * pageSize;
  const fullContexts = Math.ceil(contextLength / pageSize) * defaultContexts;
  const wantedPages = small ? fullContexts : Math.max(fullContexts, Math.ceil(generousTokens / pageSize));
  const numPages = options.numPages ??
    await pagesThatFit(backend, bytesPerPage, wantedPages, options.memoryBytes, sharing);
  return {
    kvDType,
    pageSize,
    numPages,
    maxRows,
    contextLength,
    maxTokens: prefill + maxRows,
    maxSamples: Math.max(maxRows, 64),
  };
}

async function pagesThatFit(
  backend: Backend,
  bytesPerPage: number,
  wantedPages: number,
  memoryBytes: number | null,
  sharing: number,
): Promise<number> {
  const wanted = wantedPages * bytesPerPage;
  let bytes: number, found: string;
  if (memoryBytes !== null) {
    bytes = memoryBytes - backend.weightBytes;
    found = `--memory leaves ${formatBytes(bytes)} beside weights of ${formatBytes(backend.weightBytes)}`;
  } else if (!isGpu(backend.info)) {
    const left = backend.info.memoryBytes === null ? modestCacheBytes : backend.info.memoryBytes * cacheShare;
    bytes = Math.min(left, modestCacheBytes) / sharing;
    found = `there are ${formatBytes(left)} left`;
  } else {
    const asked = Math.min(wanted * sharing / cacheShare, Deno.systemMemoryInfo().total * systemShare);
    const free = await backend.probeMemory?.(asked) ?? modestCacheBytes;
    bytes = free * cacheShare / sharing;
    found = `the device gives ${formatBytes(free)} beside weights of ${formatBytes(backend.weightBytes)}`;
  }
  const pages = Math.min(wantedPages, Math.floor(bytes / bytesPerPage));
  if (pages >= 1) return pages;
  throw new SizeError(
    `no memory left for the cache: ${found}; a page takes ${formatBytes(bytesPerPage)}. ` +
      "Give --memory more, or choose a smaller model, --dtype or --kv-dtype",
  );
}

/**
 * Refuses a model whose weights cannot fit, before any of them is loaded.
 * @throws {SizeError} with both numbers and what to change
 */
export async function checkWeightsFit(
  backend: Backend,
  weightBytes: number,
  memoryBytes: number | null,
): Promise<void> {
  const probed = isGpu(backend.info) && memoryBytes === null;
  const known = backend.info.memoryBytes;
  const free = memoryBytes ?? (probed ? await backend.probeMemory?.(weightBytes) : known) ?? Infinity;
  if (weightBytes <= free) return;
  throw new SizeError(
    `the weights take ${formatBytes(weightBytes)}, but there ${
      memoryBytes === null ? "are" : "may be used"
    } only ` +
      `${formatBytes(free)}: choose a smaller model, a smaller --dtype, or split it with --tp`,
  );
}

function formatBytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
