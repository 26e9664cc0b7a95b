// Starts the workers, joins them by channels, and watches over them.
//
// Order: all workers are created at once; tokenizer and detokenizer load the tokenizer while the executors load
// weights; the scheduler is configured last, when the executors have said how much fits. The first worker to fail
// settles `dead`, breaks the ranks' group so that none waits for ever, and everything is torn down by `close`. What
// can be refused from the configuration alone is refused before there is any worker.

import { breakGroup, createGroupMemory } from "./executor/collectives.ts";
import type { Model } from "./model/model.ts";
import type { EngineOptions, StartProgress } from "./options.ts";
import type { SchedulerConfig, SchedulerCounters } from "./scheduler/config.ts";
import { checkRanks } from "./weights/shard.ts";
import { isGpu } from "../kernels/ops.ts";
import { placeRanks } from "../kernels/backend.ts";
import type {
  DetokenizerAnswer,
  ExecutorAnswer,
  ExecutorReady,
  SchedulerAnswer,
  TokenizerAnswer,
  TokenizerReady,
} from "./messages.ts";
import { withDeadline } from "./workers/deadline.ts";
import { WorkerHandle } from "./workers/handle.ts";

/** A running set of workers, as the engine uses it. */
export interface Launched {
  /** What the first rank turned out to be. */
  readonly executor: ExecutorReady;
  /** Of each rank. */
  readonly rankWeightBytes: readonly number[];
  /** What the tokenizer turned out to be. */
  readonly tokenizer: TokenizerReady;
  /** ToTokenizer / FromTokenizer */
  readonly toTokenizer: MessagePort;
  /** FromDetokenizer */
  readonly fromDetokenizer: MessagePort;
  /** Resolves when any worker fails; never rejects. */
  readonly dead: Promise<Error>;
  /** The scheduler's counters. */
  counters(): Promise<SchedulerCounters>;
  /** Empties the prefix cache; false while requests run. */
  flush(): Promise<boolean>;
  /** Every rank answers; a rank in the middle of a long step answers after it. */
  ping(): Promise<void>;
  /** Lets the executors release their devices, then ends all workers. */
  close(): Promise<void>;
}

/** How long the workers that are left may take to become idle after one has failed. */
const stuckMilliseconds = 2_000;

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
  start: { readonly warmUp: boolean; readonly leaveDevices: boolean },
  onProgress: (progress: StartProgress) => void,
): Promise<Launched> {
  checkRanks(model.config, options.tp);
  const places = await placeRanks(options.device, options.tp, options.gpus);
  using stack = new DisposableStack();
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
        if (notice.type === "progress") onProgress(notice.progress);
      },
    ));
  const tokenizer = stack.use(worker<TokenizerAnswer>("./tokenizer/worker.ts", "tokenizer"));
  const detokenizer = stack.use(worker<DetokenizerAnswer>("./detokenizer/worker.ts", "detokenizer"));
  const scheduler = stack.use(worker<SchedulerAnswer>("./scheduler/worker.ts", "scheduler"));
  const group = options.tp > 1 ? createGroupMemory(options.tp) : null;
  let failed = false;
  const endRanks = async () => {
    if (group) breakGroup(group, "closed");
    const release = !start.leaveDevices;
    const idle = Promise.allSettled(ranks.map((handle) => handle.ask({ type: "close", release })));
    // After a failure a rank may be stuck; before one, it only has something to finish.
    await (failed ? withDeadline(idle, stuckMilliseconds) : idle);
    if (release) { for (const handle of ranks) handle[Symbol.dispose](); }
  };

  const dead = Promise.race([...ranks, tokenizer, detokenizer, scheduler].map((handle) => handle.dead));
  void dead.then(() => {
    failed = true;
    if (group) breakGroup(group, "failed");
  });

  const mainToTokenizer = new MessageChannel(), detokenizerToMain = new MessageChannel();
  const tokenizerToScheduler = new MessageChannel(), schedulerToDetokenizer = new MessageChannel();
  const schedulerToRank = ranks.map(() => new MessageChannel());

  const modelDir = options.skipTokenizer ? null : options.modelDir;
  const contextLength = options.contextLength ?? model.config.maxPositions;
  const init = { type: "init", modelDir, contextLength, vocabSize: model.config.vocabSize };
  const started = Promise.all([
    tokenizer.ask(
      {
        ...init,
        allowSpecialTokens: options.allowSpecialTokens,
        ports: { main: mainToTokenizer.port2, scheduler: tokenizerToScheduler.port1 },
      },
      [
        mainToTokenizer.port2,
        tokenizerToScheduler.port1,
      ],
    ),
    detokenizer.ask({
      ...init,
      ports: { main: detokenizerToMain.port1, scheduler: schedulerToDetokenizer.port2 },
    }, [
      detokenizerToMain.port1,
      schedulerToDetokenizer.port2,
    ]),
    ...ranks.map((handle, rank) => {
      const port = schedulerToRank[rank]!.port2;
      return handle.ask({
        type: "init",
        setup: { options, rank, group, place: places[rank], port, warmUp: start.warmUp },
      }, [
        port,
      ]);
    }),
  ]);
  const [tokenizerAnswer, , ...executorAnswers] = await started.catch(async (error) => {
    await endRanks();
    throw error;
  });
  const executors = executorAnswers.flatMap((answer) => answer.type === "ready" ? [answer.ready] : []);
  const executor = executors[0];
  if (tokenizerAnswer.type !== "ready" || executor === undefined) {
    throw new Error("a worker answered its initialisation with something else");
  }
  const config = schedulerConfig(model, options, executor);
  const ports = {
    tokenizer: tokenizerToScheduler.port2,
    detokenizer: schedulerToDetokenizer.port1,
    executors: schedulerToRank.map((channel) => channel.port1),
  };
  await scheduler.ask({ type: "init", config, ports }, [
    ports.tokenizer,
    ports.detokenizer,
    ...ports.executors,
  ]);

  const workers = stack.move();
  return {
    executor,
    rankWeightBytes: executors.map(({ weightBytes }) => weightBytes),
    tokenizer: tokenizerAnswer.ready,
    toTokenizer: mainToTokenizer.port1,
    fromDetokenizer: detokenizerToMain.port2,
    dead,
    async counters() {
      const answer = await scheduler.ask({ type: "counters" });
      if (answer.type !== "counters") throw new Error(`unexpected answer ${answer.type}`);
      return answer.counters;
    },
    async flush() {
      const answer = await scheduler.ask({ type: "flush" });
      return answer.type === "flushed" && answer.done;
    },
    async ping() {
      await Promise.all(ranks.map((handle) => handle.ask({ type: "ping" })));
    },
    async close() {
      mainToTokenizer.port1.close();
      detokenizerToMain.port2.close();
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
    maxRunningRequests: maxRows,
    maxPrefillTokens: maxTokens - maxRows,
    maxStepTokens: maxTokens,
    maxStepSamples: maxSamples,
    vocabSize: model.config.vocabSize,
    eosIds: model.generation.eosIds,
    prefillStepMilliseconds: isGpu(executor.device) ? 0 : slowStepMilliseconds,
  };
}
