// The two traces that are replayed, as their publishers write them.
//
// - Azure LLM inference trace 2023, conversations (github.com/Azure/AzurePublicDataset): CSV of time, prompt tokens,
//   generated tokens. Nothing is known about the prompts' contents.
// - Mooncake's conversation trace (github.com/kvcache-ai/Mooncake): a JSON object per line, with the hashes of the
//   prompt's blocks of 512 tokens, so that shared prefixes can be reproduced.

import { z } from "zod";
import { traceBlock, type TraceRequest } from "./arrivals.ts";

/** No request of a real trace is longer. */
const mostTokens = 1 << 21;

const mooncakeLine = z.object({
  timestamp: z.number().min(0),
  input_length: z.int().min(1).max(mostTokens),
  output_length: z.int().min(0).max(mostTokens),
  hash_ids: z.array(z.int().min(0)),
}).refine(({ input_length, hash_ids }) => hash_ids.length * traceBlock >= input_length, {
  error: "fewer blocks than the input is long",
});

/**
 * Reads a trace's first `count` requests; its form is told from its first character.
 * @throws {Error} naming the line that is not what it should be
 */
export async function readTrace(path: string, count: number): Promise<TraceRequest[]> {
  const lines = (await Deno.readTextFile(path)).split("\n").map((line) => line.trim()).filter((line) => line);
  const json = lines[0]?.startsWith("{") ?? false;
  const requests = (json ? lines : lines.slice(1)).slice(0, count).map((line, i) => {
    try {
      return json ? fromMooncake(line) : fromAzure(line);
    } catch (error) {
      const reason = error instanceof z.ZodError
        ? z.prettifyError(error)
        : error instanceof Error
        ? error.message
        : error;
      throw new Error(`${path}, request ${i + 1}: ${reason}`);
    }
  });
  if (requests.length === 0) throw new Error(`${path}: no requests`);
  const first = requests[0]!.at;
  return requests.map((request) => ({ ...request, at: request.at - first })).toSorted((a, b) => a.at - b.at);
}

function fromMooncake(line: string): TraceRequest {
  const { timestamp, input_length, output_length, hash_ids } = mooncakeLine.parse(JSON.parse(line));
  return { at: timestamp / 1000, inputTokens: input_length, outputTokens: output_length, blocks: hash_ids };
}

function fromAzure(line: string): TraceRequest {
  const match = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+),(\d{1,7}),(\d{1,7})$/.exec(line);
  if (match === null) throw new Error(`not "time,tokens,tokens": ${line.slice(0, 80)}`);
  const [, day, time, input, output] = match;
  return {
    at: Date.parse(`${day}T${time!.slice(0, 12)}Z`) / 1000,
    inputTokens: Number(input),
    outputTokens: Number(output),
    blocks: null,
  };
}
