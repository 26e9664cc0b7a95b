// radish as it is, but for one worker: the scheduler's begins with a recorder. The order of imports matters.

import { runCommand } from "../../server/cli/run.ts";

const Plain = globalThis.Worker;
const recorded = new URL("./recorded_scheduler.ts", import.meta.url);

globalThis.Worker = class extends Plain {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(`${url}`.endsWith("/scheduler/worker.ts") ? recorded : url, options);
  }
};

Deno.exit(await runCommand(Deno.args));
