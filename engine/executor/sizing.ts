// How big the engine's tables are: context, rows, tokens a step, and pages of key/value cache, from what the model
// needs, what the device has and what the caller asked for. WebGPU does not tell how much memory is free, so the
// default stays modest there unless `--memory` or `--num-pages` says more.

import type { Backend, HeadLayout, StateSpec } from "../../kernels/ops.ts";
import type { ModelConfig } from "../model/config.ts";
import type { EngineOptions } from "../options.ts";

/** The part of `EngineOptions` that decides sizes. */
export type SizeOptions = Pick<
  EngineOptions,
  "contextLength" | "memoryBytes" | "numPages" | "pageSize" | "maxRunningRequests" | "maxPrefillTokens"
>;

/** Share of the memory left after the weights that pages take by default. */
const cacheShare = 0.7;
/** By default no more tokens than this many full contexts. */
const defaultContexts = { gpu: 256, cpu: 16 } as const;
/** By default no more bytes of cache than this on a CPU or a software GPU, whose memory is everybody's. */
const modestCacheBytes = 1 << 30;
/** Assumed when the device does not say what it has. */
const assumedBytes = 4 * 2 ** 30;

/** A size that cannot work; the message names the numbers and what to change. */
export class SizeError extends Error {}

/** Chooses everything `createState` needs. Throws `SizeError` when the pool would hold less than one page. */
export function chooseSizes(
  backend: Backend,
  config: ModelConfig,
  heads: HeadLayout,
  vocabStart: number,
  options: SizeOptions,
): StateSpec {
  const { pageSize } = options;
  if (pageSize < 1 || (pageSize & (pageSize - 1)) !== 0) {
    throw new SizeError(`the page size must be a power of two, not ${pageSize}`);
  }
  const contextLength = options.contextLength ?? config.maxPositions;
  if (contextLength > config.maxPositions) {
    throw new SizeError(
      `--context-length ${contextLength} is more than the model's ${config.maxPositions} positions`,
    );
  }
  const small = backend.info.kind !== "webgpu" || backend.info.software;
  const maxRows = options.maxRunningRequests ?? (small ? 64 : 256);
  const prefill = options.maxPrefillTokens ?? (small ? 512 : 2048);
  const bytesPerPage = backend.kvBytesPerToken(heads, config.numLayers) * pageSize;
  const numPages = options.numPages ??
    defaultPages(backend, bytesPerPage, Math.ceil(contextLength / pageSize), small, options.memoryBytes);
  return {
    numLayers: config.numLayers,
    heads,
    vocabSize: config.vocabSize,
    vocabStart,
    pageSize,
    numPages,
    maxRows,
    contextLength,
    maxTokens: prefill + maxRows,
    maxSamples: Math.max(maxRows, 64),
  };
}

function defaultPages(
  backend: Backend,
  bytesPerPage: number,
  pagesPerContext: number,
  small: boolean,
  memoryBytes: number | null,
): number {
  const total = memoryBytes ?? backend.info.memoryBytes ?? assumedBytes;
  const left = total - backend.weightBytes;
  let bytes = memoryBytes === null ? left * cacheShare : left;
  if (memoryBytes === null && small) bytes = Math.min(bytes, modestCacheBytes);
  const most = pagesPerContext * (small ? defaultContexts.cpu : defaultContexts.gpu);
  const pages = Math.min(most, Math.floor(bytes / bytesPerPage));
  if (pages >= 1) return pages;
  const gib = (n: number) => `${(n / 2 ** 30).toFixed(2)} GiB`;
  throw new SizeError(
    `no memory left for the cache: the weights take ${gib(backend.weightBytes)} of ${gib(total)}; ` +
      `give --memory more, or choose a smaller model or --dtype`,
  );
}
