// A server to measure: started here on a free port, or one that runs already.

import { z } from "zod";

/** A server that is ready, and what it says about itself. */
export interface ServerUnderTest extends AsyncDisposable {
  readonly url: string;
  readonly model: string;
  readonly device: string;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Tokens that the key/value cache holds. */
  readonly cacheTokens: number;
  /** Empties the prefix cache. @throws {Error} while requests run */
  flush(): Promise<void>;
}

const serverInfo = z.object({
  served_model_name: z.string(),
  device: z.string(),
  context_length: z.int().min(1),
  max_total_tokens: z.int().min(1),
});
const modelInfo = z.object({ vocab_size: z.int().min(1) });

/** A running radish server. */
export async function connect(url: string): Promise<ServerUnderTest> {
  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`${url}${path}`);
    if (!response.ok) throw new Error(`${url}${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  };
  const server = serverInfo.parse(await get("/get_server_info"));
  return {
    url,
    model: server.served_model_name,
    device: server.device,
    vocabSize: modelInfo.parse(await get("/get_model_info")).vocab_size,
    contextLength: server.context_length,
    cacheTokens: server.max_total_tokens,
    async flush() {
      const response = await fetch(`${url}/flush_cache`, { method: "POST" });
      const text = await response.text();
      if (!response.ok) throw new Error(`the cache could not be emptied: ${text}`);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Starts `radish serve` with these options; disposing of it ends it. @throws {Error} with what it wrote last */
export async function startServer(args: readonly string[]): Promise<ServerUnderTest> {
  const main = decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "-A", main, "serve", "--port", "0", "--log-format", "none"],
      ...["--skip-tokenizer-init", "--drain-timeout", "0", ...args],
    ],
    env: { NO_COLOR: "1" },
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
    return { ...await connect(await ready), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}
