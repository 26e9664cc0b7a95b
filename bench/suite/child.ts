// Measurements run as processes of their own: each starts from nothing, one that crashes takes no other with it, and
// a driver that misbehaves when a process ends cannot spoil what was already printed.

/** How a process ended. */
export interface ChildOutcome {
  /** Null when it was ended at its time limit. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** Runs a program of this repository. Never rejects because of what the program does. */
export type RunChild = (args: readonly string[], limitSeconds: number) => Promise<ChildOutcome>;

/** Runs Deno with `args` in the repository's root, and ends it when the time is up or `signal` aborts. */
export function denoRunner(root: string, signal: AbortSignal): RunChild {
  return async (args, limitSeconds) => {
    const began = performance.now();
    const child = new Deno.Command(Deno.execPath(), {
      args: [...args],
      cwd: root,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let ended = false;
    const end = () => {
      ended = true;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(end, limitSeconds * 1000);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    try {
      const { code, stdout, stderr } = await child.output();
      const decoder = new TextDecoder();
      return {
        code: ended ? null : code,
        stdout: decoder.decode(stdout),
        stderr: decoder.decode(stderr),
        seconds: (performance.now() - began) / 1000,
      };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  };
}
