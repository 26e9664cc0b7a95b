// Calibration: drives a recorded server through every kind of step, and joins what it and its clients wrote down;
// `fit.ts` fits a profile to that.
//
// Traffic is one client with long pauses, then a closed loop of more and more clients. They join one after another: all
// at once, each waits for the sending of all, which no load does. Each sends its next request after a pause of up to
// twice the time that one takes: without one, it would come as a step ends, and loads come in the midst of steps, too.
// So the machine's speed need not be known, and steps run from one sequence to full batches, behind one another and
// after times without any.

import { setTimeout as delay } from "node:timers/promises";
import { PythonRandom } from "../common/python_random.ts";
import { mean } from "../common/statistics.ts";
import type { Arrival } from "../online/arrivals.ts";
import { type Outcome, request } from "../online/client.ts";
import { until } from "../online/replay.ts";
import { activityAfter, behindMilliseconds, type StepShape } from "./profile.ts";
import { requestKey, type ServerRecord } from "./records.ts";

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
  /** Milliseconds for which the device had had nothing to do. */
  readonly idle: number;
  /** When it began; see {@link activityAfter}. */
  readonly activity: number;
  /** Prompt tokens of the step directly before, else 0. */
  readonly after: number;
  /** Requests that came to the scheduler while it ran. */
  readonly arrivals: number;
  /** From when it could begin (sent, and the one before it done) to its result. */
  readonly milliseconds: number;
}

/** What a profile is fitted to. */
export interface Measurements {
  readonly steps: readonly StepSample[];
  /** From a result to the plan that follows it. */
  readonly turns: readonly number[];
  /** From when a request was due to its arrival at the scheduler; `busy`: while the device was at work. */
  readonly arrivals: readonly {
    readonly prompt: number;
    readonly busy: boolean;
    readonly activity: number;
    /** Requests that had been due and were not over, this one included. */
    readonly company: number;
    readonly milliseconds: number;
  }[];
  /**
   * From the scheduler to the client: `place` among the `size` sequences with news at that moment, and whether these
   * were the request's first tokens.
   */
  readonly deliveries: readonly {
    readonly place: number;
    readonly size: number;
    readonly first: boolean;
    readonly milliseconds: number;
  }[];
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

/** Requests of the calibration that are ready before it begins. */
const prepared = 1000;
/** Part of the time in which one client sends a request now and then, and milliseconds between its requests. */
const sparseShare = 0.5, sparsePause = [10, 500] as const;
/** Part of a level's time in which its clients join. */
const joiningShare = 0.3;
/** Longest pause between two requests of a client, as a multiple of the time that one takes. */
const longestPause = 2;

/** Runs the traffic and returns what the clients saw. Rejects if a request fails. */
export async function drive(url: string, traffic: Traffic): Promise<ClientRecord[]> {
  const random = new PythonRandom(traffic.seed);
  const records: ClientRecord[] = [];
  // Made beforehand: clients have other things to do than to draw numbers, and the cores, too.
  const requests = Array.from({ length: prepared }, () => randomRequest(traffic, random));
  const never = new AbortController().signal;
  let sent = 0;
  /** As in a load, a request is due when the pause is over, not when the timer has noticed. */
  const ask = async (pause: number): Promise<number> => {
    const arrival = requests[sent++] ?? randomRequest(traffic, random), due = performance.now() + pause;
    await until(due, never);
    const outcome = await request(url, arrival, due, never);
    records.push(clientRecord(arrival, performance.timeOrigin + due, outcome));
    return performance.now() - due;
  };
  const sparseEnd = performance.now() + traffic.seconds * 1000 * sparseShare;
  while (performance.now() < sparseEnd) {
    await ask(between(...sparsePause, random));
  }
  const each = traffic.seconds * 1000 * (1 - sparseShare) / traffic.levels.length;
  for (const clients of traffic.levels) {
    const end = performance.now() + each;
    const took: number[] = [];
    await Promise.all(Array.from({ length: clients }, async (_, i) => {
      await delay(each * joiningShare * i / clients);
      for (;;) {
        const pause = took.length === 0 ? 0 : longestPause * random.next() * mean(took);
        if (performance.now() + pause > end) break;
        took.push(await ask(pause));
      }
    }));
  }
  return records;
}

/** Spread evenly over its logarithm: small ones often, large ones as surely. */
function between(least: number, most: number, random: PythonRandom): number {
  return Math.round(least * (most / least) ** random.next());
}

function randomRequest({ promptTokens, outputTokens, vocabSize }: Traffic, random: PythonRandom): Arrival {
  const ids = Array.from(
    { length: between(Math.min(8, promptTokens), promptTokens, random) },
    () => random.int(0, vocabSize - 1),
  );
  return { at: 0, ids, outputTokens: between(Math.min(4, outputTokens), outputTokens, random) };
}

/** What the client of a finished request saw. @throws {Error} where it has not finished */
export function clientRecord({ ids }: Arrival, due: number, outcome: Outcome): ClientRecord {
  if (outcome.status !== "done") throw new Error(`a request was not done: ${JSON.stringify(outcome)}`);
  let at = outcome.firstToken;
  const tokens = [at, ...outcome.betweenTokens.map((gap) => at += gap)];
  return { due, key: requestKey(ids), prompt: ids.length, tokens };
}

function companyOf({ due }: ClientRecord, clients: readonly ClientRecord[]): number {
  return clients.filter((each) => each.due <= due && each.due + (each.tokens.at(-1) ?? 0) >= due).length;
}

/** Joins what server and clients wrote down. */
export function joinRecords(server: readonly ServerRecord[], clients: readonly ClientRecord[]): Measurements {
  const byKey = new Map(clients.map((client) => [client.key, client]));
  const plans = new Map<number, Extract<ServerRecord, { type: "plan" }>>();
  const told = new Map<string, number>();
  const steps: StepSample[] = [], turns: number[] = [];
  const arrivals: Measurements["arrivals"][number][] = [],
    deliveries: Measurements["deliveries"][number][] = [];
  let lastResult = -Infinity, lastPrompt = 0, arrived = 0, activity = 0;
  for (const record of server) {
    switch (record.type) {
      case "config":
        break;
      case "request": {
        arrived++;
        const client = byKey.get(record.key);
        if (client === undefined) break;
        arrivals.push({
          prompt: record.prompt,
          busy: plans.size > 0,
          activity: activityAfter.rest(activity, Math.max(0, record.at - lastResult)),
          company: companyOf(client, clients),
          milliseconds: record.at - client.due,
        });
        break;
      }
      case "plan":
        if (plans.size === 0) arrived = 0;
        plans.set(record.id, record);
        if (record.turn !== null) turns.push(record.turn);
        break;
      case "result": {
        const plan = plans.get(record.id);
        plans.delete(record.id);
        if (plan !== undefined) {
          const idle = Math.max(0, plan.at - lastResult);
          const milliseconds = record.at - Math.max(plan.at, lastResult);
          activity = activityAfter.rest(activity, idle);
          steps.push({
            shape: plan.shape,
            idle: Number.isFinite(idle) ? idle : 0,
            activity,
            after: idle < behindMilliseconds ? lastPrompt : 0,
            arrivals: arrived,
            milliseconds,
          });
          lastPrompt = plan.shape.prompt;
          activity = activityAfter.work(activity, milliseconds);
        }
        arrived = 0;
        lastResult = record.at;
        break;
      }
      case "news": {
        let place = 0;
        for (const [key, count] of record.news) {
          place++;
          const client = byKey.get(key);
          if (client === undefined || count === 0) continue;
          const before = told.get(key) ?? 0, at = client.tokens[before + count - 1];
          told.set(key, before + count);
          if (at === undefined) continue;
          const milliseconds = client.due + at - record.at;
          deliveries.push({ place, size: record.news.length, first: before === 0, milliseconds });
        }
        break;
      }
      default:
        throw new Error(`no such record: ${JSON.stringify(record satisfies never)}`);
    }
  }
  return { steps, turns, arrivals, deliveries };
}

/** All of several measurements. */
export function together(parts: readonly Measurements[]): Measurements {
  return {
    steps: parts.flatMap(({ steps }) => steps),
    turns: parts.flatMap(({ turns }) => turns),
    arrivals: parts.flatMap(({ arrivals }) => arrivals),
    deliveries: parts.flatMap(({ deliveries }) => deliveries),
  };
}
