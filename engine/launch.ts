// Starts the workers, joins them by channels, and watches over them.
//
// Order: all workers are created at once; tokenizer and detokenizer load the tokenizer while the executors load
// weights; the scheduler is configured last, when the executors have said how much fits. The first executor or
// scheduler to fail settles `dead`, breaks the ranks' group so that none waits for ever, and everything is torn down
// by `close`; tokenizer and detokenizer are started again (`workers/text_workers.ts`). What can be refused from the
// configuration alone is refused before there is any worker.

import { breakGroup, createGroupMemory } from "./executor/collectives.ts";
import type { Model } from "./model/model.ts";
import type { EngineOptions, StartOptions } from "./options.ts";
import type { SchedulerConfig, SchedulerCounters, SchedulerState } from "./scheduler/config.ts";
import { checkRanks } from "./weights/shard.ts";
import { isGpu } from "../kernels/ops.ts";
import { placeRanks, settleDevice } from "../kernels/backend.ts";
import type {
  ExecutorAnswer,
  ExecutorReady,
  SchedulerAnswer,
  TokenizerReady,
  ToTokenizer,
} from "./messages.ts";
import { SignsOfLife, unlessFailed, withDeadline } from "./workers/deadline.ts";
import { spareRows } from "./workers/fairness.ts";
import { WorkerHandle } from "./workers/handle.ts";
import type { ProbeProgress } from "./workers/protocol.ts";
import { attachThrough, injector, type TextListener, TextWorkers } from "./workers/text_workers.ts";

/** A running set of workers, as the engine uses it. */
export interface Launched {
  /** What the first rank turned out to be. */
  readonly executor: ExecutorReady;
  /** Of each rank. */
  readonly rankWeightBytes: readonly number[];
  /** What the tokenizer turned out to be. */
  readonly tokenizer: TokenizerReady;
  /** Tokenizer and detokenizer. */
  readonly text: TextWorkers;
  /** Names of the ranks, and a question that each answers, in the middle of a long step after it. */
  readonly ranks: readonly { readonly name: string; ping(): Promise<unknown> }[];
  /** Resolves when a worker fails that is not started again; never rejects. */
  readonly dead: Promise<Error>;
  /** Begins to read what the text workers send. */
  connect(listener: TextListener): void;
  /** To the tokenizer. */
  send(message: ToTokenizer): void;
  /** Ends the engine for a reason that no worker can tell itself. */
  giveUp(reason: string): void;
  /** The scheduler's counters, and how far probes have come. */
  counters(): Promise<{ readonly counters: SchedulerCounters; readonly probes: ProbeProgress }>;
  /** The scheduler's state, for people to look at. */
  inspect(): Promise<SchedulerState>;
  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean>;
  /** Lets the executors release their devices, then ends all workers. */
  close(): Promise<void>;
}

/** How long the workers that are left may take to become idle after one has failed. */
const stuckMilliseconds = 2_000;

/** A start without any progress for so long is given up. */
const defaultSilenceSeconds = 600;

/** A step of prompts alone stays near this where there is no GPU: on a CPU 500 tokens can take five seconds. */
const slowStepMilliseconds = 1_000;

/** What the scheduler is told where the caller says nothing. */
const schedulerDefaults = {
  maxDecodeSteps: 8,
  targetStepMilliseconds: 100,
  newTokenRatio: 0.3,
  poisonFreedPages: false,
} as const;

/**
 * Starts everything. Rejects with the first worker's error, after closing the others.
 *
 * `leaveDevices`: the process exits after `close`, so executors only become idle and keep their devices. NVIDIA's
 * driver crashes when a device is destroyed on one thread while the process exits on another (seen with 580.159).
 */
export async function launch(
  model: Model,
  options: EngineOptions,
  start: StartOptions,
): Promise<Launched> {
  checkRanks(model.config, options.tp);
  const { device, reason } = await settleDevice(options.device);
  const places = await placeRanks(device, options.tp, options.gpus);
  using stack = new DisposableStack();
  using signs = new SignsOfLife((start.startSilenceSeconds ?? defaultSilenceSeconds) * 1000);
  const worker = <A extends { type: string; call?: number; message?: string }>(
    path: string,
    name: string,
    notice?: (a: A) => void,
  ) => new WorkerHandle<A>(new URL(path, import.meta.url), name, notice);

  const ranks = Array.from({ length: options.tp }, (_, rank) =>
    worker<ExecutorAnswer>(
      "./executor/worker.ts",
      options.tp > 1 ? `executor of rank ${rank}` : "executor",
      (notice) => {
        signs.seen();
        if (notice.type === "progress") start.onProgress?.(notice.progress);
      },
    ));
  const text = stack.use(
    new TextWorkers({
      modelDir: options.skipTokenizer ? null : options.modelDir,
      contextLength: options.contextLength ?? model.config.maxPositions,
      vocabSize: model.config.vocabSize,
      allowSpecialTokens: options.allowSpecialTokens,
    }),
  );
  const scheduler = stack.use(worker<SchedulerAnswer>("./scheduler/worker.ts", "scheduler"));
  const group = options.tp > 1 ? createGroupMemory(options.tp) : null;
  let failed = false;
  const endRanks = async () => {
    if (group) breakGroup(group, "closed");
    const release = start.leaveDevices !== true;
    const idle = Promise.allSettled(ranks.map((handle) => handle.ask({ type: "close", release })));
    // After a failure a rank may be stuck; before one, it only has something to finish.
    await (failed ? withDeadline(idle, stuckMilliseconds) : idle);
    if (release) { for (const handle of ranks) handle[Symbol.dispose](); }
  };

  const givenUp = Promise.withResolvers<Error>();
  const dead = Promise.race([
    ...ranks.map((handle) => handle.dead),
    scheduler.dead,
    text.dead,
    givenUp.promise,
  ]);
  void dead.then(() => {
    failed = true;
    if (group) breakGroup(group, "failed");
  });

  const schedulerToRank = ranks.map(() => new MessageChannel());
  start.onWorkers?.(injector(text, [scheduler, ...ranks]));
  const started = Promise.all([
    text.start().finally(() => signs.seen()),
    ...ranks.map((handle, rank) => {
      const port = schedulerToRank[rank]!.port2, place = places[rank]!;
      return handle.ask({
        type: "init",
        setup: {
          options: { ...options, device },
          reason,
          rank,
          group,
          place: { ...place, sharing: place.sharing * (options.enginesPerDevice ?? 1) },
          port,
          warmUp: start.warmUp === true,
        },
      }, [
        port,
      ]);
    }),
  ]);
  // Whatever fails first is the reason; what follows from it is not asked for any more.
  const orFailure = unlessFailed([dead, text.failedToStart, signs.silent], async () => {
    failed = true;
    await endRanks();
  });
  const [tokenizer, ...executorAnswers] = await orFailure(started);
  const executors = executorAnswers.flatMap((answer) => answer.type === "ready" ? [answer.ready] : []);
  const executor = executors[0];
  if (executor === undefined) throw new Error("an executor answered its initialisation with something else");
  const config = schedulerConfig(model, options, executor);
  const ports = {
    ...text.schedulerPorts,
    executors: schedulerToRank.map((channel) => channel.port1),
  };
  await orFailure(
    scheduler.ask({ type: "init", config, ports }, [ports.tokenizer, ports.detokenizer, ...ports.executors]),
  );

  const workers = stack.move();
  return {
    executor,
    rankWeightBytes: executors.map(({ weightBytes }) => weightBytes),
    tokenizer,
    text,
    ranks: ranks.map((handle) => ({ name: handle.name, ping: () => handle.ask({ type: "ping" }) })),
    dead,
    connect: (listener) =>
      text.connect(listener, attachThrough((question, transfer) => scheduler.ask(question, transfer))),
    send: (message) => text.send(message),
    giveUp: (reason) => givenUp.resolve(new Error(reason)),
    async counters() {
      const answer = await scheduler.ask({ type: "counters" });
      if (answer.type !== "counters") throw new Error(`unexpected answer ${answer.type}`);
      return answer;
    },
    async inspect() {
      const answer = await scheduler.ask({ type: "inspect" });
      if (answer.type !== "inspected") throw new Error(`unexpected answer ${answer.type}`);
      return answer.state;
    },
    async flush() {
      const answer = await scheduler.ask({ type: "flush" });
      return answer.type === "flushed" && answer.done;
    },
    async close() {
      await endRanks();
      workers.dispose();
    },
  };
}

function schedulerConfig(
  model: Model,
  options: EngineOptions,
  executor: ExecutorReady,
): SchedulerConfig {
  const { numPages, contextLength, maxRows, maxTokens, maxSamples } = executor;
  return {
    ...schedulerDefaults,
    ...options,
    numPages,
    contextLength,
    maxRunningRequests: maxRows - spareRows,
    maxPrefillTokens: maxTokens - maxRows,
    maxStepTokens: maxTokens,
    maxStepSamples: maxSamples,
    vocabSize: model.config.vocabSize,
    eosIds: model.generation.eosIds,
    tokenizerDir: options.skipTokenizer ? null : options.modelDir,
    drawLater: options.drawLater ?? executor.drawsLater,
    prefillStepMilliseconds: isGpu(executor.device) ? 0 : slowStepMilliseconds,
  };
}
