// One server in virtual time: radish's own scheduler, and stand-ins for all around it.
//
// Batching, chunks, admission, retraction, the prefix cache and step sizes are the scheduler's and not modelled at
// all; it is driven as its worker drives it. The executor is a queue whose plans take the time that the profile says,
// and the front another one, which takes requests in and hands tokens out in turn.

import type { ToDetokenizer, ToExecutor } from "../../engine/messages.ts";
import { defaultSamplingParams } from "../../engine/params.ts";
import { Scheduler } from "../../engine/scheduler/scheduler.ts";
import type { SchedulerCounters } from "../../engine/scheduler/config.ts";
import type { BatchPlan, StepResult } from "../../kernels/plan.ts";
import { sampleCount } from "../../kernels/sampling.ts";
import type { PythonRandom } from "../common/python_random.ts";
import type { Arrival } from "../online/arrivals.ts";
import type { VirtualClock } from "./events.ts";
import {
  activityAfter,
  activityLevel,
  behindMilliseconds,
  drawFrom,
  idleMilliseconds,
  meanwhile,
  noiseFor,
  type Profile,
  schedulerConfig,
  shapeOf,
  stepMilliseconds,
  valuesOf,
} from "./profile.ts";

/** News of a request, when the client has it: tokens so far, and whether these are all or why there are none. */
export interface News {
  readonly tokens: number;
  readonly cachedTokens: number;
  readonly end: "done" | "refused" | null;
}

/** A request's client, as the front knows it. */
interface Client {
  readonly listener: (news: News) => void;
  /** Tokens handed out so far, and when the last of them will be there. */
  tokens: number;
  delivered: number;
}

/** One simulated server. */
export class VirtualServer {
  readonly #profile: Profile;
  readonly #clock: VirtualClock;
  readonly #random: PythonRandom;
  readonly #scheduler: Scheduler;
  /** Plans that the executor has not answered, oldest first. */
  readonly #running: { end: number; milliseconds: number }[] = [];
  readonly #clients = new Map<string, Client>();
  /** When the executor and the front have done all that they have been given. */
  #executorFree = 0;
  #frontFree = 0;
  /** When a plan that is made now leaves the scheduler. */
  #turnEnds = 0;
  #busy = 0;
  /** Prompt tokens of the last plan. */
  #lastPrompt = 0;
  /** When the last step that was begun will be over. */
  #activity = 0;
  #load = 0;

  /** Lives by `clock`; draws from `random`. */
  constructor(profile: Profile, clock: VirtualClock, random: PythonRandom) {
    this.#profile = profile;
    this.#clock = clock;
    this.#random = random;
    this.#scheduler = new Scheduler(schedulerConfig(profile), {
      toExecutors: (message) => this.#execute(message),
      toDetokenizer: (message) => this.#deliver(message),
      toGrammar: () => {
        throw new Error("no request of a simulation has a grammar");
      },
    });
  }

  /** Requests that it was sent and that have not ended. */
  get load(): number {
    return this.#load;
  }

  /** Milliseconds in which the executor had a plan. */
  get busyMilliseconds(): number {
    return this.#busy;
  }

  /** The scheduler's own. */
  counters(): SchedulerCounters {
    return this.#scheduler.counters();
  }

  /** Sends a request now; `listener` hears all that its client does. */
  submit(id: string, { ids, outputTokens }: Arrival, listener: (news: News) => void): void {
    const { vocabSize } = this.#profile.config, { front } = this.#profile;
    this.#load++;
    this.#clients.set(id, { listener, tokens: 0, delivered: 0 });
    const working = this.#executorFree > this.#clock.now;
    if (working) this.#delay(this.#profile.step[meanwhile]!);
    const rested = Math.max(0, this.#clock.now - this.#executorFree);
    const level = activityLevel(activityAfter.rest(this.#activity, rested));
    const noises = working
      ? valuesOf(front.busyArrivalNoise, this.#load)
      : valuesOf(front.idleArrivalNoise, level);
    const noise = drawFrom(noises, this.#random, 0);
    this.#frontFree = Math.max(this.#frontFree, this.#clock.now) + ids.length * front.promptToken;
    this.#clock.at(this.#frontFree + Math.max(0, front.latency + noise), () => {
      this.#scheduler.processInput({
        type: "request",
        id,
        ids: Uint32Array.from(ids, (token) => token % vocabSize),
        params: { ...defaultSamplingParams, maxTokens: outputTokens, ignoreEos: true, seed: 0 },
        salt: "",
        client: "",
      });
      this.#turnEnds = this.#clock.now;
      this.#scheduler.runNextBatches();
    });
  }

  #execute(message: ToExecutor): void {
    if (message.type !== "plan") return;
    const { plan } = message, { profile, random } = { profile: this.#profile, random: this.#random };
    const shape = shapeOf(plan.steps, plan.cachedLength, plan.extendLength, (i) => plan.extendLength[i]! > 1);
    const rested = Math.max(0, this.#turnEnds - this.#executorFree);
    const setting = {
      woken: rested > idleMilliseconds,
      after: rested < behindMilliseconds ? this.#lastPrompt : 0,
    };
    this.#lastPrompt = shape.prompt;
    const activity = activityAfter.rest(this.#activity, rested);
    const noise = drawFrom(noiseFor(profile, shape, activity), random, 1);
    const milliseconds = stepMilliseconds(profile, shape, setting) * noise;
    this.#activity = activityAfter.work(activity, milliseconds);
    this.#executorFree = Math.max(this.#turnEnds, this.#executorFree) + milliseconds;
    this.#busy += milliseconds;
    const running = { end: this.#executorFree, milliseconds };
    this.#running.push(running);
    const finish = () => {
      if (running.end > this.#clock.now) return this.#clock.at(running.end, finish); // it was delayed
      this.#running.shift();
      this.#turnEnds = this.#clock.now + this.#profile.turn;
      this.#scheduler.processBatchResult(
        resultOf(plan, running.milliseconds, profile.config.vocabSize, random),
      );
      this.#scheduler.runNextBatches();
    };
    this.#clock.at(running.end, finish);
  }

  /** Something else takes the cores that the running step would use; those behind it begin later. */
  #delay(milliseconds: number): void {
    this.#running.forEach((step, i) => {
      step.end += milliseconds;
      if (i === 0) step.milliseconds += milliseconds;
    });
    this.#executorFree += milliseconds;
    this.#busy += milliseconds;
  }

  #deliver(message: Exclude<ToDetokenizer, { type: "probe" }>): void {
    if (message.type !== "updates") return;
    const { front } = this.#profile;
    const size = message.updates.length;
    const first = drawFrom(valuesOf(front.firstDeliveryNoise, size), this.#random, 0);
    const later = drawFrom(valuesOf(front.deliveryNoise, size), this.#random, 0);
    this.#frontFree = Math.max(this.#frontFree, this.#turnEnds, this.#clock.now);
    for (const { id, tokens, cachedTokens, finish } of message.updates) {
      const client = this.#clients.get(id)!;
      this.#frontFree += front.update;
      const wait = client.tokens === 0 ? front.firstDelivery + first : front.delivery + later;
      const end = finish === null ? null : finish.type === "length" ? "done" : "refused";
      client.tokens += tokens.length;
      // No token reaches its client before one that was sent earlier.
      client.delivered = Math.max(client.delivered, this.#frontFree + Math.max(0, wait));
      if (end !== null) this.#clients.delete(id);
      const news: News = { tokens: client.tokens, cachedTokens, end };
      this.#clock.at(client.delivered, () => {
        if (end !== null) this.#load--;
        client.listener(news);
      });
    }
  }
}

/** Tokens that mean nothing and end nothing. */
function resultOf(
  plan: BatchPlan,
  milliseconds: number,
  vocabSize: number,
  random: PythonRandom,
): StepResult {
  const count = plan.steps * sampleCount(plan.sampling);
  return {
    id: plan.id,
    tokens: Uint32Array.from({ length: count }, () => random.int(0, vocabSize - 1)),
    logprobs: new Float32Array(count).fill(NaN),
    topCount: 0,
    topTokens: new Uint32Array(),
    topLogprobs: new Float32Array(),
    milliseconds,
  };
}
