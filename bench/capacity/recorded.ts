// A server with a recorder in its scheduler, calibrated.

import type { ServerUnderTest } from "../online/server.ts";
import { type ClientRecord, drive, joinRecords, type Measurements } from "./calibrate.ts";
import type { Profile } from "./profile.ts";
import { parseRecords } from "./records.ts";

/** A server, and the file to which its scheduler's recorder appends. */
export interface RecordedServer {
  readonly server: ServerUnderTest;
  readonly record: string;
}

/** Seconds of traffic first that are thrown away: compilers and caches become warm. */
const warmSeconds = 4;
/** Longest calibration prompts and answers; a model with a short context gets a share of it. */
const longestPrompt = 4096, longestAnswer = 256, shareOfContext = 0.5;

/** Drives calibration traffic and joins what server and clients saw. */
export async function measure(
  { server, record }: RecordedServer,
  { seconds, seed, levels, warm = warmSeconds }: {
    readonly seconds: number;
    readonly seed: number;
    readonly levels: readonly number[];
    readonly warm?: number;
  },
): Promise<{ readonly config: Profile["config"]; readonly measurements: Measurements }> {
  const promptTokens = Math.min(longestPrompt, Math.floor(server.contextLength * shareOfContext));
  const traffic = { promptTokens, outputTokens: longestAnswer, vocabSize: server.vocabSize };
  if (warm > 0) await drive(server.url, { ...traffic, seconds: warm, levels, seed: seed + 1000 });
  await server.flush(); // before, a line may be half written
  const config = parseRecords(await Deno.readTextFile(record)).find((each) => each.type === "config")?.config;
  if (config === undefined) throw new Error("the recorder did not write the scheduler's settings");
  const from = await recordedBytes(record);
  const clients = await drive(server.url, { ...traffic, seconds, levels, seed });
  return { config, measurements: await joined({ server, record }, from, clients) };
}

/** Bytes that the recorder has written by now. */
export async function recordedBytes(record: string): Promise<number> {
  return (await Deno.stat(record)).size;
}

/** What clients saw, and the server wrote down since `from`; nothing may be running any more. */
export async function joined(
  { server, record }: RecordedServer,
  from: number,
  clients: readonly ClientRecord[],
): Promise<Measurements> {
  await server.flush(); // when it answers, nothing runs, and all is written
  const text = new TextDecoder().decode((await Deno.readFile(record)).subarray(from));
  return joinRecords(parseRecords(text), clients);
}
