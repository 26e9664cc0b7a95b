// The executor worker: one rank. Makes the backend, loads this rank's share of the model, sizes and allocates the
// state, then runs plans as they come. An error in a step is fatal: it is thrown, the worker dies, and the launcher
// fails the requests in flight.

import { guardPort } from "../workers/death.ts";
import { answerQuestions } from "../workers/answering.ts";
import { createBackend } from "../../kernels/backend.ts";
import { kvFormat } from "../../kernels/kv_format.ts";
import type { Backend } from "../../kernels/ops.ts";
import type {
  ExecutorAnswer,
  ExecutorQuestion,
  ExecutorReady,
  ExecutorSetup,
  FromExecutor,
  ToExecutor,
} from "../messages.ts";
import { Decoder } from "../model/decoder.ts";
import { loadDecoderWeights, planWeights } from "../model/load.ts";
import { openModel } from "../model/open.ts";
import type { StartProgress } from "../options.ts";
import { planSize } from "../weights/plan.ts";
import { headLayout } from "../weights/shard.ts";
import { GroupClosed, SharedMemoryCollective } from "./collectives.ts";
import { Executor } from "./executor.ts";
import { checkWeightsFit, chooseSizes } from "./sizing.ts";

/** What `init` made. */
interface Running {
  readonly ready: ExecutorReady;
  readonly backend: Backend;
  readonly executor: Executor;
}

let starting: Promise<Running> | null = null;
let closing = false;

answerQuestions<ExecutorQuestion, ExecutorAnswer & { readonly call: number }>({
  async init({ setup }) {
    starting = start(setup);
    return { type: "ready", ready: (await starting).ready };
  },
  async close({ release }) {
    closing = true;
    const running = await starting?.catch(() => null);
    await running?.executor.idle();
    if (release) running?.backend[Symbol.dispose]();
    return { type: "closed" };
  },
});

async function start(setup: ExecutorSetup): Promise<Running> {
  const { options, rank, group, place, port } = setup;
  const shard = { rank, size: options.tp };
  const collective = group ? new SharedMemoryCollective(group, rank, options) : null;
  const progress = (stage: StartProgress["stage"], message: string, fraction: number) => {
    if (closing) throw new Error("closed while starting");
    if (rank > 0) return;
    self.postMessage({ type: "progress", progress: { stage, message, fraction } } satisfies ExecutorAnswer);
  };

  const model = await openModel(options.modelDir, { dummy: options.dummyWeights });
  const { config } = model;
  const heads = headLayout(config, shard);
  const open = () => createBackend(options.device, { threads: options.threads, collective, place });
  // One after the other, because what selects the GPU is the process's and not the rank's.
  const { backend, reason } = await (place.address !== null && collective ? collective.inTurn(open) : open());
  using stack = new DisposableStack();
  stack.use(backend);
  progress("device", backend.info.description, 1);
  // Refused before any weight is loaded.
  kvFormat(backend, options.kvDType);

  const planned = planSize(planWeights(model, backend, { dtype: options.dtype, shard }));
  await checkWeightsFit(backend, planned.bytes, options.memoryBytes);
  const weights = await loadDecoderWeights(model, backend, {
    dtype: options.dtype,
    shard,
    onProgress: (done, total) => progress("weights", "loading weights", done / total),
  });
  const chooseOwnSizes = () => chooseSizes(backend, config, heads, options, place.sharing);
  // One rank after the other finds out what is free, and all take as many pages as the one that has least.
  const own = await (collective?.inTurn(chooseOwnSizes) ?? chooseOwnSizes());
  const sizes = collective ? { ...own, numPages: collective.smallest(own.numPages) } : own;
  const decoder = new Decoder(backend, config, weights, shard, sizes);

  if (setup.warmUp && backend.warmUpPlans !== undefined) {
    const plans = [...backend.warmUpPlans()];
    for (const [i, plan] of plans.entries()) {
      const step = backend.record(plan, (ops) => decoder.forward(ops));
      // Recording compiles. A GPU raises its clock on top; a software driver would only take its time.
      if (!backend.info.software) {
        step.submit();
        await step.read();
      }
      progress("warm-up", "compiling kernels", (i + 1) / plans.length);
    }
  }

  collective?.watchStalls();
  const send = (message: FromExecutor) => port.postMessage(message);
  const executor = new Executor(
    backend,
    decoder,
    rank === 0 ? send : () => {},
    () => collective?.beginStep(),
  );
  const dieAt = options.dieAtPlan?.rank === rank ? options.dieAtPlan.plan : Infinity;
  let plans = 0;
  guardPort(port).onmessage = ({ data: message }: MessageEvent<ToExecutor>) => {
    if (message.type === "probe") return port.postMessage(message satisfies FromExecutor);
    // The scheduler does not know yet; the group is closed, so that no rank waits for this one.
    if (closing) return;
    if (message.type === "plan" && ++plans >= dieAt) {
      if (options.dieAtPlan?.stall) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      throw new Error(`told to die at plan ${dieAt}`);
    }
    // A rejection here is unhandled on purpose: it ends the worker, and the launcher sees that.
    void executor.handle(message).catch((error) => {
      if (!(error instanceof GroupClosed)) throw error;
    });
  };
  stack.move(); // from here on "close" disposes of the backend
  const ready: ExecutorReady = {
    device: backend.info,
    reason: place.address === null ? setup.reason ?? reason : `${reason}, at ${place.address}`,
    drawsLater: backend.drawsLater,
    weightBytes: backend.weightBytes,
    weightFormats: planned.formats,
    ...sizes,
  };
  return { ready, backend, executor };
}
