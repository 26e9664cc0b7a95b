// Calibration: drives a recorded server through every kind of step, and fits a profile to what it wrote down.
//
// Traffic is a closed loop: so many clients, each with its next request as soon as the last one is done, more and
// more clients as time goes on. Speed need not be known, and the steps run from one sequence to full batches.

import { PythonRandom } from "../common/python_random.ts";
import { median } from "../common/statistics.ts";
import type { Arrival } from "../online/arrivals.ts";
import { type Outcome, request } from "../online/client.ts";
import { fitNonNegative, type Observation } from "./least_squares.ts";
import { type Profile, sample, stepFeatures, type StepShape } from "./profile.ts";
import { requestKey, type ServerRecord, systemTime } from "./records.ts";

/** A request as its client saw it. */
export interface ClientRecord {
  /** When it was due, by the system's clock in milliseconds. */
  readonly due: number;
  readonly key: string;
  readonly prompt: number;
  /** Milliseconds after `due` at which each token had come. */
  readonly tokens: readonly number[];
}

/** One step as it was measured. */
export interface StepSample {
  readonly shape: StepShape;
  /** From when it could begin (sent, and the one before it done) to its result. */
  readonly milliseconds: number;
}

/** What a profile is fitted to. */
export interface Measurements {
  readonly steps: readonly StepSample[];
  /** From a result to the plan that follows it. */
  readonly turns: readonly number[];
  /** From when a request was due to its arrival at the scheduler, with no other one about. */
  readonly arrivals: readonly { readonly prompt: number; readonly milliseconds: number }[];
  /** From the scheduler to the client: one list for each time that there was news, by place in it. */
  readonly deliveries: readonly (readonly number[])[];
}

/** What calibration traffic looks like. */
export interface Traffic {
  readonly seconds: number;
  /** Clients at once, one level after the other. */
  readonly levels: readonly number[];
  /** Longest prompt and longest answer. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly vocabSize: number;
  readonly seed: number;
}

/** Runs the traffic and returns what the clients saw. Rejects if a request fails. */
export async function drive(url: string, traffic: Traffic): Promise<ClientRecord[]> {
  const random = new PythonRandom(traffic.seed);
  const records: ClientRecord[] = [];
  const each = traffic.seconds * 1000 / traffic.levels.length;
  const never = new AbortController().signal;
  for (const clients of traffic.levels) {
    const end = performance.now() + each;
    await Promise.all(Array.from({ length: clients }, async () => {
      while (performance.now() < end) {
        const arrival = randomRequest(traffic, random), due = performance.now();
        records.push(clientRecord(arrival, systemTime(), await request(url, arrival, due, never)));
      }
    }));
  }
  return records;
}

/** Lengths are spread evenly over their logarithms: many short ones, some long ones. */
function randomRequest({ promptTokens, outputTokens, vocabSize }: Traffic, random: PythonRandom): Arrival {
  const length = (least: number, most: number) => Math.round(least * (most / least) ** random.next());
  const ids = Array.from(
    { length: length(Math.min(8, promptTokens), promptTokens) },
    () => random.int(0, vocabSize - 1),
  );
  return { at: 0, ids, outputTokens: length(Math.min(4, outputTokens), outputTokens) };
}

function clientRecord({ ids }: Arrival, due: number, outcome: Outcome): ClientRecord {
  if (outcome.status !== "done") throw new Error(`a request of the calibration: ${JSON.stringify(outcome)}`);
  let at = outcome.firstToken;
  const tokens = [at, ...outcome.betweenTokens.map((gap) => at += gap)];
  return { due, key: requestKey(ids), prompt: ids.length, tokens };
}

/** Joins what server and clients wrote down. */
export function joinRecords(server: readonly ServerRecord[], clients: readonly ClientRecord[]): Measurements {
  const byKey = new Map(clients.map((client) => [client.key, client]));
  const plans = new Map<number, Extract<ServerRecord, { type: "plan" }>>();
  const told = new Map<string, number>();
  const steps: StepSample[] = [], turns: number[] = [], deliveries: number[][] = [];
  const arrivals: { prompt: number; milliseconds: number }[] = [];
  let lastResult = -Infinity;
  for (const record of server) {
    switch (record.type) {
      case "config":
        break;
      case "request": {
        const client = byKey.get(record.key);
        if (client === undefined) break;
        // Only what came to an idle server: others wait behind what the front has to hand out.
        if (plans.size === 0) arrivals.push({ prompt: record.prompt, milliseconds: record.at - client.due });
        break;
      }
      case "plan":
        plans.set(record.id, record);
        if (record.turn !== null) turns.push(record.turn);
        break;
      case "result": {
        const plan = plans.get(record.id);
        plans.delete(record.id);
        if (plan !== undefined) {
          steps.push({ shape: plan.shape, milliseconds: record.at - Math.max(plan.at, lastResult) });
        }
        lastResult = record.at;
        break;
      }
      case "news": {
        const delays: number[] = [];
        for (const [key, count] of record.news) {
          const client = byKey.get(key);
          if (client === undefined || count === 0) continue;
          const sum = (told.get(key) ?? 0) + count;
          told.set(key, sum);
          const at = client.tokens[sum - 1];
          if (at !== undefined) delays.push(client.due + at - record.at);
        }
        if (delays.length > 0) deliveries.push(delays);
        break;
      }
      default:
        throw new Error(`no such record: ${JSON.stringify(record satisfies never)}`);
    }
  }
  return { steps, turns, arrivals, deliveries };
}

/** Fits everything of a profile that is measured. */
export function fitProfile(
  { steps, turns, arrivals, deliveries }: Measurements,
): Pick<Profile, "step" | "decodeNoise" | "prefillNoise" | "turn" | "front"> {
  if (steps.length === 0) throw new Error("no steps were recorded");
  const step = fitSteps(steps);
  const predicted = (shape: StepShape) =>
    stepFeatures(shape).reduce((sum, count, i) => sum + count * step[i]!, 0);
  const ratios = (some: readonly StepSample[]) =>
    sample(some.map(({ shape, milliseconds }) => milliseconds / predicted(shape)));
  const arriving = fitNonNegative(
    arrivals.map(({ prompt, milliseconds }) => ({ features: [1, prompt], value: milliseconds, weight: 1 })),
  );
  const delivering = fitNonNegative(deliveries.flatMap((delays) =>
    delays.map((value, i): Observation => ({ features: [1, i + 1], value, weight: 1 / delays.length }))
  ));
  const [latency = 0, promptToken = 0] = arriving, [delivery = 0, update = 0] = delivering;
  return {
    step,
    decodeNoise: ratios(steps.filter(({ shape }) => shape.prompt === 0)),
    prefillNoise: ratios(steps.filter(({ shape }) => shape.prompt > 0)),
    turn: turns.length > 0 ? median(turns) : 0,
    front: {
      latency,
      request: 0,
      promptToken,
      delivery,
      update,
      arrivalNoise: sample(
        arrivals.map(({ prompt, milliseconds }) => milliseconds - latency - promptToken * prompt),
      ),
      deliveryNoise: sample(
        deliveries.map((delays) => median(delays.map((delay, i) => delay - delivery - update * (i + 1)))),
      ),
    },
  };
}

/** Relative errors count alike; outliers are left out of the second fit and stay in the noise. */
function fitSteps(steps: readonly StepSample[]): number[] {
  const observe = (some: readonly StepSample[]) =>
    some.map(({ shape, milliseconds }): Observation => ({
      features: stepFeatures(shape),
      value: milliseconds,
      weight: 1 / Math.max(milliseconds, 1e-3) ** 2,
    }));
  const first = fitNonNegative(observe(steps));
  const ratio = ({ shape, milliseconds }: StepSample) =>
    milliseconds / stepFeatures(shape).reduce((sum, count, i) => sum + count * first[i]!, 0);
  const ratios = steps.map(ratio), middle = median(ratios);
  const spread = median(ratios.map((each) => Math.abs(each - middle)));
  const kept = steps.filter((_, i) => Math.abs(ratios[i]! - middle) <= 6 * spread + 1e-9);
  return fitNonNegative(observe(kept));
}
