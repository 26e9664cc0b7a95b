// Programs that listen, for tests that need them in a process of their own.

/** A program that answers. */
export interface RunningProgram extends AsyncDisposable {
  readonly url: string;
  /** Ends it by a signal; disposing of it is SIGTERM. */
  end(signal: Deno.Signal): Promise<Deno.CommandStatus>;
}

/** A port that was free a moment ago. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/**
 * Starts a program, and waits until `url` + `probe` answers with 200.
 * @throws {Error} with what it wrote, if it ends before that
 */
export async function startProgram(
  command: string,
  args: readonly string[],
  url: string,
  probe: string,
): Promise<RunningProgram> {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const output = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  let ended = false;
  const status = child.status.then((status) => {
    ended = true;
    return status;
  });
  const end = async (signal: Deno.Signal) => {
    if (!ended) child.kill(signal);
    await output;
    return await status;
  };
  while (true) {
    const response = await fetch(url + probe).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) break;
    if (ended) throw new Error(`${command} ended: ${(await output).join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { url, end, [Symbol.asyncDispose]: async () => void await end("SIGTERM") };
}
