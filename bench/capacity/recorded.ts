// A server with a recorder in its scheduler, calibrated.

import type { ServerUnderTest } from "../online/server.ts";
import { drive, joinRecords, type Measurements } from "./calibrate.ts";
import type { Profile } from "./profile.ts";
import { parseRecords } from "./records.ts";

/** A server, and the file to which its scheduler's recorder appends. */
export interface RecordedServer {
  readonly server: ServerUnderTest;
  readonly record: string;
}

/** Seconds of traffic first that are thrown away: compilers and caches become warm. */
const warmSeconds = 1.5;
/** Longest calibration prompts and answers; a model with a short context gets a share of it. */
const longestPrompt = 2048, longestAnswer = 96, shareOfContext = 0.5;

/** Drives calibration traffic and joins what server and clients saw. */
export async function measure(
  { server, record }: RecordedServer,
  { seconds, seed, levels }: {
    readonly seconds: number;
    readonly seed: number;
    readonly levels: readonly number[];
  },
): Promise<{ readonly config: Profile["config"]; readonly measurements: Measurements }> {
  const promptTokens = Math.min(longestPrompt, Math.floor(server.contextLength * shareOfContext));
  const traffic = { promptTokens, outputTokens: longestAnswer, vocabSize: server.vocabSize };
  await drive(server.url, { ...traffic, seconds: warmSeconds, levels: [1, Math.max(...levels)], seed: seed + 1 });
  const config = parseRecords(await Deno.readTextFile(record)).find((each) => each.type === "config")?.config;
  if (config === undefined) throw new Error("the recorder did not write the scheduler's settings");
  const before = (await Deno.stat(record)).size;
  const clients = await drive(server.url, { ...traffic, seconds, levels, seed });
  await server.flush(); // nothing runs, so all is written
  const text = new TextDecoder().decode((await Deno.readFile(record)).subarray(before));
  return { config, measurements: joinRecords(parseRecords(text), clients) };
}
