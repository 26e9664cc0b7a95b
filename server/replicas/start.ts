// Starts the engines of `radish serve --dp n`, each on devices of its own where there are enough of them.
//
// Replica i takes GPUs i·tp to (i + 1)·tp − 1 of those that ranks take (kernels/backend.ts), in turn where there are
// fewer. Where no GPU can be told from another, or there is none, all share what there is: its memory and, on a CPU,
// its cores are divided. They are started one after the other, because what selects a GPU for WebGPU belongs to the
// process, and the second reads weights that the system still has in memory. One that dies is started in the same way,
// with as many pages and as long a context as before, whatever the others have taken meanwhile.

import { Engine, type StartOptions } from "../../engine/engine.ts";
import type { EngineOptions } from "../../engine/options.ts";
import { placeRanks, settleDevice } from "../../kernels/backend.ts";
import type { DevicePlace } from "../../kernels/ops.ts";
import type { RoutingOptions } from "./policy.ts";
import type { ReplicaEngine } from "./replica.ts";
import { Replicas } from "./replicas.ts";

/** Of `radish serve`. */
export interface ReplicaOptions extends Partial<RoutingOptions> {
  /** Engines, 1 or more. */
  readonly dp: number;
  /** Told when a replica dies and when it is back, for people. */
  readonly note?: (text: string) => void;
  /** For tests: how the replica of this number is started, beyond what is the same for all. */
  readonly startOf?: (rank: number) => StartOptions;
  /** For tests: see {@link Restarting}. */
  readonly pauseMilliseconds?: number;
}

/** Starts them all, or none: rejects with the first one's reason. */
export async function startReplicas(
  options: EngineOptions,
  start: StartOptions,
  { dp, startOf, note = () => {}, pauseMilliseconds = 1_000, ...routing }: ReplicaOptions,
): Promise<Replicas> {
  await using stack = new AsyncDisposableStack();
  const { device } = await settleDevice(options.device);
  const own = shareOut(options, dp, await placeRanks(device, dp * options.tp, options.gpus));
  const kept = new WeakMap<ReplicaEngine, { leaveDevices: boolean }>();
  const startOne = async (rank: number, options: EngineOptions, more: StartOptions): Promise<Engine> => {
    // Read when the engine is closed: a process that goes on needs the devices of a dead one back.
    const life = { ...start, ...more, ...startOf?.(rank), leaveDevices: start.leaveDevices === true };
    const engine = await Engine.start(options, life);
    kept.set(engine, life);
    return engine;
  };
  const engines: Engine[] = [];
  for (const [rank, options] of own.entries()) {
    const onProgress: StartOptions["onProgress"] = (progress) =>
      start.onProgress?.({ ...progress, message: `replica ${rank} of ${dp}: ${progress.message}` });
    engines.push(stack.use(await startOne(rank, options, { onProgress })));
  }
  stack.move();
  let turn: Promise<unknown> = Promise.resolve();
  return new Replicas(engines, routing, {
    note,
    pauseMilliseconds,
    start(rank) {
      const { numPages, contextLength } = engines[rank]!.model;
      const again = () =>
        startOne(rank, { ...own[rank]!, numPages, contextLength }, { onProgress: () => {} });
      const started = turn.then(again);
      turn = started.catch(() => {});
      return started;
    },
    async release(engine) {
      const life = kept.get(engine);
      if (life !== undefined) life.leaveDevices = false;
      await engine[Symbol.asyncDispose]();
    },
  });
}

/** Of a replica's rank on a CPU, unless the caller wants more. */
const mostThreads = 64;

/** What each replica is started with; `places` are those of all ranks of all replicas. */
export function shareOut(
  options: EngineOptions,
  dp: number,
  places: readonly DevicePlace[],
): EngineOptions[] {
  const { tp } = options;
  const share = Math.floor(navigator.hardwareConcurrency / (dp * tp));
  const threads = options.threads ?? Math.min(mostThreads, Math.max(1, share));
  return Array.from({ length: dp }, (_, rank) => {
    const own = places.slice(rank * tp, (rank + 1) * tp);
    const gpus = own.flatMap(({ address }) => address ?? []);
    // The engine itself counts those of its own ranks that share a device.
    const within = own.filter(({ address }) => address === own[0]!.address).length;
    return { ...options, threads, gpus, enginesPerDevice: own[0]!.sharing / within };
  });
}
