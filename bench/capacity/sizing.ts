// How many servers: a profile from a committed result file, a workload like conversations, and the largest rate at
// which a server still answers as fast as wished.
//
// The file gives whole steps: prompts of one length or another, and batches that decode with short contexts. What it
// does not give is reckoned: a context token costs reading its keys and values at 80 % of the card's bandwidth, a pair
// in a prompt's attention 4 · heads · head size · layers operations at 40 % of its peak. Nothing is left to chance, and
// the front costs what `frontMilliseconds` says. So a size is a simulation's, and where it matters `calibrate` on the
// card should take the file's place.

import { PythonRandom } from "../common/python_random.ts";
import type { Arrival } from "../online/arrivals.ts";
import type { PeersResult } from "../report/results.ts";
import { fitNonNegative } from "./least_squares.ts";
import { type Profile, stepFeatures, stepParts, type StepShape } from "./profile.ts";
import type { Routing } from "./router.ts";
import { simulate } from "./simulate.ts";

/** What of a model's configuration decides its cache and attention. */
export interface AttentionShape {
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Bytes of all weights. */
  readonly weightBytes: number;
}

/** A card, from its data sheet. */
export interface Card {
  readonly bytes: number;
  readonly bytesPerSecond: number;
  /** Dense bf16 operations. */
  readonly flops: number;
}

/** NVIDIA H100 SXM. */
export const h100: Card = { bytes: 80e9, bytesPerSecond: 3.35e12, flops: 989e12 };

const bandwidthShare = 0.8, attentionShare = 0.4;
/** As the engine takes it: of what weights leave, after a tenth for everything else. */
const cacheShare = 0.8, usable = 0.9, mostCachedTokens = 1 << 19;
/** A request's way in and out, and what each token costs the front: assumed, not measured on such a machine. */
const frontMilliseconds = { latency: 2, firstDelivery: 1, delivery: 1, update: 0.02 };

/** A profile of the card and shape that a peers result was measured with. */
export function profileFromFigures(result: PeersResult, shape: AttentionShape, card: Card): Profile {
  const { measurements, device } = result.radish[0]!;
  const contextMilliseconds = cacheBytes(shape) / (card.bytesPerSecond * bandwidthShare) * 1000;
  const pairMilliseconds = 4 * shape.heads * shape.headDim * shape.layers / (card.flops * attentionShare) *
    1000;
  const context = stepParts.indexOf("context token"), pair = stepParts.indexOf("pair");
  const none = { forwards: 1, rows: 0, context: 0, longest: 0, prompt: 0, chunks: 0, pairs: 0 };
  const observations = measurements.map(({ what, size, tokens_per_second }) => {
    const decodes = what === "decode";
    const milliseconds = size / tokens_per_second * 1000;
    const step: StepShape = decodes
      ? { ...none, rows: size, context: size * result.workload.context, longest: result.workload.context }
      : { ...none, prompt: size, chunks: 1, pairs: size * (size + 1) / 2 };
    const features = stepFeatures(step);
    const known = features[context]! * contextMilliseconds + features[pair]! * pairMilliseconds;
    // Only forwards, rows and prompt tokens can be told apart by such figures.
    const kept = stepParts.map((part, i) =>
      ["forward", "row", "prompt token"].includes(part) ? features[i]! : 0
    );
    return { features: kept, value: Math.max(0, milliseconds - known), weight: 1 / milliseconds ** 2 };
  });
  const step = fitNonNegative(observations);
  step[context] = contextMilliseconds;
  step[pair] = pairMilliseconds;
  const pageSize = 16;
  const cacheTokens = (card.bytes * usable - shape.weightBytes) * cacheShare / cacheBytes(shape);
  if (cacheTokens < shape.contextLength / 8) {
    throw new Error(`the card's ${card.bytes / 1e9} GB leave a cache of ${Math.floor(cacheTokens)} tokens`);
  }
  return {
    kind: "capacity profile",
    model: result.shape,
    device,
    source: `figures of ${result.environment.date.slice(0, 10)}, attention and front reckoned`,
    config: {
      pageSize,
      numPages: Math.floor(Math.min(cacheTokens, mostCachedTokens) / pageSize),
      contextLength: shape.contextLength,
      maxRunningRequests: 256,
      maxQueuedRequests: 100_000,
      maxPrefillTokens: 2048,
      maxStepTokens: 2048 + 257,
      maxStepSamples: 257,
      vocabSize: shape.vocabSize,
      cache: "radix",
      overlap: true,
      maxDecodeSteps: 8,
      targetStepMilliseconds: 100,
      prefillStepMilliseconds: 0,
      newTokenRatio: 0.3,
    },
    step,
    noise: [],
    noiseOf: {},
    turn: 0,
    front: {
      ...frontMilliseconds,
      promptToken: 0,
      idleArrivalNoise: {},
      busyArrivalNoise: {},
      firstDeliveryNoise: {},
      deliveryNoise: {},
    },
  };
}

/** Bytes of keys and values of one token, at 16 bits. */
function cacheBytes({ layers, keyValueHeads, headDim }: AttentionShape): number {
  return layers * 2 * keyValueHeads * headDim * 2;
}

/** Conversations: what people send, and how much comes back. */
export interface Conversations {
  /** Requests per second. */
  readonly rate: number;
  readonly count: number;
  readonly vocabSize: number;
  readonly seed: number;
}

/** Instructions that requests begin with, and how many of them there are. */
const instructionTokens = 512, instructions = 8;
/** Ends of an own part and of an answer, in tokens; even over their logarithms. Their means are 969 and 232. */
const ownTokens = [64, 4096] as const, answerTokens = [32, 768] as const;

/** Independent requests with lengths about those of Azure's trace of conversations (means of 1,155 and 211). */
export function conversations({ rate, count, vocabSize, seed }: Conversations): Arrival[] {
  const random = new PythonRandom(seed);
  const tokens = (length: number) => Array.from({ length }, () => random.int(0, vocabSize - 1));
  const length = ([least, most]: readonly [number, number]) =>
    Math.round(least * (most / least) ** random.next());
  const beginnings = Array.from({ length: instructions }, () => tokens(instructionTokens));
  let at = 0;
  return Array.from({ length: count }, () => {
    at += -Math.log(1 - random.next()) / rate;
    const beginning = beginnings[random.int(0, instructions - 1)]!;
    return { at, ids: [...beginning, ...tokens(length(ownTokens))], outputTokens: length(answerTokens) };
  });
}

/** How fast is fast enough: 99th percentiles, milliseconds. */
export interface Target {
  readonly firstToken: number;
  readonly betweenTokens: number;
}

/** The largest rate that a fleet carries, and what its clients see then. */
export interface Size {
  readonly rate: number;
  readonly firstToken: number;
  readonly betweenTokens: number;
  readonly outputTokensPerSecond: number;
  readonly utilisation: number;
  readonly hitRate: number;
}

/** Seconds of arrivals that a rate is judged by, requests at least, and how finely rates are told apart. */
const judgedSeconds = 40, judgedRequests = 200, precision = 0.04;

/** Finds the largest rate by halving; null where not even one request every ten seconds is fast enough. */
export function largestRate(
  { profile, servers, routing, seed, target }: {
    readonly profile: Profile;
    readonly servers: number;
    readonly routing: Routing;
    readonly seed: number;
    readonly target: Target;
  },
): Size | null {
  const { vocabSize } = profile.config;
  const judge = (rate: number): Size | null => {
    const count = Math.max(judgedRequests, Math.ceil(rate * judgedSeconds));
    const arrivals = conversations({ rate, count, vocabSize, seed });
    const { summary, utilisation } = simulate({ profile, servers, routing, seed }, arrivals);
    const firstToken = summary.time_to_first_token_ms.p99, betweenTokens = summary.inter_token_latency_ms.p99;
    if (summary.done < count || firstToken > target.firstToken || betweenTokens > target.betweenTokens) {
      return null;
    }
    return {
      rate,
      firstToken,
      betweenTokens,
      outputTokensPerSecond: summary.output_tokens_per_second,
      utilisation: Math.max(...utilisation),
      hitRate: summary.cache_hit_rate,
    };
  };
  let good = judge(0.1);
  if (good === null) return null;
  let bad = 0.2;
  for (let next = judge(bad); next !== null; next = judge(bad)) {
    good = next;
    bad *= 2;
  }
  while (bad / good.rate > 1 + precision) {
    const middle: number = Math.sqrt(bad * good.rate), next = judge(middle);
    if (next === null) bad = middle;
    else good = next;
  }
  return good;
}

/** People a day who are served by so many requests a second in the busiest hour. */
export function dailyUsers(rate: number, { requestsPerUser, peak }: Day): number {
  return rate * 86_400 / (requestsPerUser * peak);
}

/** A day of users: requests each, and the busiest hour's rate over the day's mean. */
export interface Day {
  readonly requestsPerUser: number;
  readonly peak: number;
}
