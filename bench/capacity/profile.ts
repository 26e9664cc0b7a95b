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
  /** Tokens that the one with most has there. */
  readonly longest: number;
  /** Prompt tokens, and the chunks they come in. */
  readonly prompt: number;
  readonly chunks: number;
  /** Pairs of a prompt token and a token that it attends to. */
  readonly pairs: number;
}

/** Milliseconds without a step after which cores and caches have turned to something else: the next one is woken. */
export const idleMilliseconds = 10;
/** Milliseconds without a step up to which one is directly behind the other. */
export const behindMilliseconds = 1;

/**
 * Ends of the classes of rows. Kernels are chosen and graphs captured for sizes, so a forward may cost more at once; and
 * it is by the rows that a sequence's context is cut over a device, whose other parts then wait for the longest one.
 */
const rowClasses = [1, 2, 4, 8, 16, 32, Infinity] as const;
const rowClass = (rows: number) => rowClasses.find((most) => rows <= most)!;

/** The parts of a step's time, in the order of {@link Profile.step}. */
export const stepParts = [
  "plan",
  "sequence",
  "forward",
  "row",
  "context token",
  ...rowClasses.slice(0, -1).map((most) => `forward of more than ${most}` as const),
  ...rowClasses.map((most) => `longest context of up to ${most}` as const),
  "prompt",
  "prompt token",
  "chunk",
  "pair",
  "decoding after a prompt",
  "prompt token before decoding",
  "waking",
  "prompt token after waking",
  "request that comes meanwhile",
] as const;
/** Where the last of them is. */
export const meanwhile = stepParts.length - 1;

/** What a step began in. */
export interface StepSetting {
  /** The device had had nothing to do for {@link idleMilliseconds}. */
  readonly woken?: boolean;
  /** Prompt tokens of the step directly before, if it is decoded right after them: their keys and values are cold. */
  readonly after?: number;
  /** Requests that came while it ran, and took their part of the cores. */
  readonly arrivals?: number;
}

/** How often each part occurs in a step. */
export function stepFeatures(
  shape: StepShape,
  { woken = false, after = 0, arrivals = 0 }: StepSetting = {},
): number[] {
  const { forwards, rows, context, longest, prompt, chunks, pairs } = shape;
  const more = (forwards - 1) / 2, cold = prompt === 0 ? after : 0;
  return [
    1,
    rows,
    forwards,
    forwards * rows,
    forwards * (context + rows * more),
    ...rowClasses.slice(0, -1).map((most) => prompt === 0 && rows > most ? forwards : 0),
    ...rowClasses.map((most) => most === rowClass(rows) && rows > 0 ? forwards * (longest + more) : 0),
    prompt > 0 ? 1 : 0,
    prompt,
    chunks,
    pairs,
    cold > 0 ? 1 : 0,
    cold,
    woken ? 1 : 0,
    woken ? prompt : 0,
    arrivals,
  ];
}

/**
 * How much a server has been at work of late, 0 to 1: what happened 100 ms ago counts a third. A core that has had little
 * to do is slower for a while (measured here: 1.7 times after rest, not at all after being busy for half of the time).
 */
export const activityAfter = {
  rest: (activity: number, milliseconds: number): number => activity * Math.exp(-milliseconds / memory),
  work: (activity: number, milliseconds: number): number =>
    1 - (1 - activity) * Math.exp(-milliseconds / memory),
};
const memory = 100;
/** Upper ends of the levels of activity that are told apart; the last is all above. */
const activityLevels = [1 / 6, 1 / 3, 1 / 2];

/** Which of a few levels an activity is, from 0. */
export function activityLevel(activity: number): number {
  const level = activityLevels.findIndex((end) => activity < end);
  return level < 0 ? activityLevels.length : level;
}

/**
 * Kinds of steps whose noise is kept together, the narrowest first: steps of one kind, of about one size, after about as
 * much activity. What the sum of parts says too much or too little of differs between one forward and eight more than
 * anything else does, and most tokens come from eight; so the number of forwards is never given up.
 */
export function noiseClasses({ rows, prompt, forwards }: StepShape, activity: number): readonly string[] {
  const size = (count: number) => 2 ** Math.floor(Math.log2(count));
  const after = `activity ${activityLevel(activity)}`;
  if (prompt > 0) {
    const kind = `prompt ${size(prompt)}`;
    return [`${kind}, ${after}`, kind, `prompt, ${after}`];
  }
  const kind = `forwards ${size(forwards)}`, sized = `${kind}, up to ${rowClass(rows)} rows`;
  return [`${sized}, ${after}`, sized, `${kind}, ${after}`, kind];
}

/** The noise of a step: that of the narrowest of its kinds that was seen often enough, else of all steps. */
export function noiseFor({ noise, noiseOf }: Profile, shape: StepShape, activity: number): readonly number[] {
  const kind = noiseClasses(shape, activity).find((name) => noiseOf[name] !== undefined);
  return kind === undefined ? noise : noiseOf[kind]!;
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
  /** Measured over predicted steps, of all and by {@link noiseClasses} where there are enough; may be empty. */
  noise: values,
  noiseOf: z.record(z.string(), values),
  /** Milliseconds from a result to the next plan. */
  turn: z.number().min(0),
  front: z.object({
    /** Milliseconds until a request is at the scheduler: waiting alone, and busy for each prompt token. */
    latency: z.number().min(0),
    promptToken: z.number().min(0),
    /** Milliseconds from the scheduler to the client, of a request's first tokens and of later ones. */
    firstDelivery: z.number().min(0),
    delivery: z.number().min(0),
    /** Milliseconds that the front is busy for each sequence with news. */
    update: z.number().min(0),
    /**
     * What is added to those, as measured; may be empty. The key is, for requests that come to a device at rest, a level
     * of activity; at work, the requests there are (a power of two); for tokens, the sequences that they are sent on
     * with (another one).
     */
    idleArrivalNoise: z.record(z.string(), values),
    busyArrivalNoise: z.record(z.string(), values),
    firstDeliveryNoise: z.record(z.string(), values),
    deliveryNoise: z.record(z.string(), values),
  }),
});

/** How long everything takes. */
export type Profile = z.infer<typeof profileSchema>;

/** The scheduler's settings in a simulation. */
export function schedulerConfig({ config }: Profile): SchedulerConfig {
  return { ...config, eosIds: [], tokenizerDir: null, drawLater: false, poisonFreedPages: false };
}

/** Milliseconds of a step without noise. */
export function stepMilliseconds(profile: Profile, shape: StepShape, setting: StepSetting = {}): number {
  return stepFeatures(shape, setting).reduce((sum, count, i) => sum + count * profile.step[i]!, 0);
}

/** One of the values, or `none` where there are none. */
export function drawFrom(values: readonly number[], random: PythonRandom, none: number): number {
  return values.length === 0 ? none : values[Math.floor(random.next() * values.length)]!;
}

/** The values of the largest key (a number) that is not above `size`, else of the smallest; none where there are none. */
export function valuesOf(
  classes: Readonly<Record<string, readonly number[]>>,
  size: number,
): readonly number[] {
  const keys = Object.keys(classes).map(Number).sort((a, b) => a - b);
  const key = keys.findLast((each) => each <= size) ?? keys[0];
  return key === undefined ? [] : classes[key]!;
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
  let rows = 0, context = 0, longest = 0, prompt = 0, chunks = 0, pairs = 0;
  for (let i = 0; i < cached.length; i++) {
    if (isPrompt(i)) {
      chunks++;
      prompt += extend[i]!;
      pairs += extend[i]! * (cached[i]! + (extend[i]! + 1) / 2);
    } else {
      rows++;
      context += cached[i]!;
      longest = Math.max(longest, cached[i]!);
    }
  }
  return { forwards, rows, context, longest, prompt, chunks, pairs };
}
