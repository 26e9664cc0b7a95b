// How long a server's parts take: the model of time that a calibration fits and the simulator reads.
//
// A step is a sum of parts (its launch, each forward, rows, context, prompt tokens, attention among them). The front
// (HTTP, tokenizer, detokenizer and the network) takes requests in and hands tokens out, one thing after another.
// What the sums leave unexplained is kept as it was measured, as ratios and differences to draw from: a collection of
// the heap or another process's turn is rare and long, and no average shows it in the 99th percentile.

import { z } from "zod";
import type { SchedulerConfig } from "../../engine/scheduler/config.ts";
import type { PythonRandom } from "../common/python_random.ts";

/** What a step consists of. */
export interface StepShape {
  /** Forwards; more than one only where every sequence decodes. */
  readonly forwards: number;
  /** Sequences that decode. */
  readonly rows: number;
  /** Tokens that those have in the cache, in all. */
  readonly context: number;
  /** Prompt tokens, and the chunks they come in. */
  readonly prompt: number;
  readonly chunks: number;
  /** Pairs of a prompt token and a token that it attends to. */
  readonly pairs: number;
}

/** The parts of a step's time, in the order of {@link Profile.step}. */
export const stepParts = ["plan", "forward", "row", "context token", "prompt token", "chunk", "pair"] as const;

/** How often each part occurs in a step. */
export function stepFeatures({ forwards, rows, context, prompt, chunks, pairs }: StepShape): number[] {
  const grown = context + rows * (forwards - 1) / 2;
  return [1, forwards, forwards * rows, forwards * grown, prompt, chunks, pairs];
}

const values = z.array(z.number());

const config = z.object({
  pageSize: z.int().min(1),
  numPages: z.int().min(1),
  contextLength: z.int().min(1),
  maxRunningRequests: z.int().min(1),
  maxQueuedRequests: z.int().min(1),
  maxPrefillTokens: z.int().min(1),
  maxStepTokens: z.int().min(1),
  maxStepSamples: z.int().min(1),
  vocabSize: z.int().min(2),
  cache: z.enum(["radix", "naive"]),
  overlap: z.boolean(),
  maxDecodeSteps: z.int().min(1),
  targetStepMilliseconds: z.number().min(0),
  prefillStepMilliseconds: z.number().min(0),
  newTokenRatio: z.number().min(0),
});

/** The file's form. */
export const profileSchema = z.object({
  kind: z.literal("capacity profile"),
  model: z.string(),
  device: z.string(),
  /** Where the numbers are from. */
  source: z.string(),
  /** The scheduler's own settings. */
  config,
  /** Milliseconds of each of {@link stepParts}. */
  step: values.length(stepParts.length),
  /** Measured over predicted steps: of steps that only decode, and of those with prompt tokens; may be empty. */
  decodeNoise: values,
  prefillNoise: values,
  /** Milliseconds from a result to the next plan. */
  turn: z.number().min(0),
  front: z.object({
    /** Milliseconds of a request that are waiting alone, and that keep the front busy: fixed, and per prompt token. */
    latency: z.number().min(0),
    request: z.number().min(0),
    promptToken: z.number().min(0),
    /** Milliseconds from the scheduler to the client: waiting alone, and busy for each sequence with news. */
    delivery: z.number().min(0),
    update: z.number().min(0),
    /** What is added to those of arrivals and of deliveries; may be empty. */
    arrivalNoise: values,
    deliveryNoise: values,
  }),
});

/** How long everything takes. */
export type Profile = z.infer<typeof profileSchema>;

/** The scheduler's settings in a simulation. */
export function schedulerConfig({ config }: Profile): SchedulerConfig {
  return { ...config, eosIds: [], tokenizerDir: null, poisonFreedPages: false };
}

/** Milliseconds of a step without noise. */
export function stepMilliseconds(profile: Profile, shape: StepShape): number {
  return stepFeatures(shape).reduce((sum, count, i) => sum + count * profile.step[i]!, 0);
}

/** One of the values, or `none` where there are none. */
export function drawFrom(values: readonly number[], random: PythonRandom, none: number): number {
  return values.length === 0 ? none : values[Math.floor(random.next() * values.length)]!;
}

/** At most `most` of the values, evenly over their order of size. */
export function sample(values: readonly number[], most = 500): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length <= most) return sorted;
  return Array.from({ length: most }, (_, i) => sorted[Math.floor((i + 0.5) * sorted.length / most)]!);
}

/** The shape of a plan from its sequences, in (cached, extend, prompt?) triples. */
export function shapeOf(
  forwards: number,
  cached: ArrayLike<number>,
  extend: ArrayLike<number>,
  isPrompt: (i: number) => boolean,
): StepShape {
  let rows = 0, context = 0, prompt = 0, chunks = 0, pairs = 0;
  for (let i = 0; i < cached.length; i++) {
    if (isPrompt(i)) {
      chunks++;
      prompt += extend[i]!;
      pairs += extend[i]! * (cached[i]! + (extend[i]! + 1) / 2);
    } else {
      rows++;
      context += cached[i]!;
    }
  }
  return { forwards, rows, context, prompt, chunks, pairs };
}
