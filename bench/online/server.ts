// A server to measure: started here on a free port, or one that runs already.

import { z } from "zod";

/** A server that is ready, and what it says about itself. */
export interface ServerUnderTest extends AsyncDisposable {
  readonly url: string;
  /** Of the process that was started; null for a server that ran already. */
  readonly pid: number | null;
  readonly model: string;
  readonly device: string;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens that the key/value cache holds. */
  readonly cacheTokens: number;
  /** Empties the prefix cache, when what was aborted just now is gone. @throws {Error} while requests run */
  flush(): Promise<void>;
}

const serverInfo = z.object({
  served_model_name: z.string(),
  device: z.string(),
  context_length: z.int().min(1),
  max_total_tokens: z.int().min(1),
});
/** Tokens that are generated at most while aborted requests are on their way out. */
const patience = 200;
const modelInfo = z.object({ vocab_size: z.int().min(1) });

/** A running radish server; `key` is one of its API keys, if it has any. */
export async function connect(url: string, key?: string): Promise<ServerUnderTest> {
  const headers = new Headers(key === undefined ? {} : { authorization: `Bearer ${key}` });
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, { headers });
    if (!response.ok) throw new Error(`${url}${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  };
  const server = serverInfo.parse(await get("/get_server_info"));
  return {
    url,
    pid: null,
    model: server.served_model_name,
    device: server.device,
    vocabSize: modelInfo.parse(await get("/get_model_info")).vocab_size,
    contextLength: server.context_length,
    cacheTokens: server.max_total_tokens,
    async flush() {
      for (let attempt = 0;; attempt++) {
        const response = await fetch(`${url}/flush_cache`, { method: "POST", headers });
        const text = await response.text();
        if (response.ok) return;
        if (attempt === patience) throw new Error(`the cache could not be emptied: ${text}`);
        await (await fetch(`${url}/health_generate`, { headers })).body?.cancel(); // takes as long as a step or two
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/**
 * Starts `radish serve` with these options and API keys; disposing of it ends it. `program` (relative to this file)
 * stands in for `main.ts`, and sees `env` beside the environment.
 *
 * @throws {Error} with what it wrote last
 */
export async function startServer(
  args: readonly string[],
  keys: readonly string[] = [],
  { program = "../../main.ts", env = {} }: {
    readonly program?: string;
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<ServerUnderTest> {
  const main = decodeURIComponent(new URL(program, import.meta.url).pathname);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-A", main, "serve", "--port", "0", "--log-format", "none"],
      ...["--skip-tokenizer-init", "--drain-timeout", "0", ...args],
      ...keys.flatMap((key) => ["--api-key", key]),
    ],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  const reading = (async () => {
    let log = "", url = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      log = (log + text).slice(-4000);
      url ||= /listening on (http:\S+)\n/.exec(log)?.[1] ?? "";
      if (url !== "" && /ready: /.test(log)) resolve(url);
    }
    reject(new Error(`the server ended: ${log.trim().split("\n").at(-1)}`));
  })();
  const end = async () => {
    // A server that has ended already cannot be signalled.
    const ended = await Promise.race([child.status.then(() => true), Promise.resolve(false)]);
    if (!ended) child.kill("SIGTERM");
    await child.status;
    await reading;
  };
  try {
    return { ...await connect(await ready, keys[0]), pid: child.pid, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
