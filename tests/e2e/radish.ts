// Runs the program as a user would, in a process of its own.

const root = new URL("../../", import.meta.url).pathname;

/** What a finished run left behind. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a run differs from the plain one. */
export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  /** Where it is started; the repository's root by default. */
  readonly cwd?: string;
}

/** Starts the program; the caller waits for it. */
export function spawnRadish(args: readonly string[], options: RunOptions = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${root}main.ts`, ...args],
    cwd: options.cwd ?? root,
    env: { NO_COLOR: "1", ...options.env },
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs the program to its end. */
export async function radish(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = spawnRadish(args, options);
  if (options.stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(options.stdin));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
