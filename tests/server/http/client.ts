// How tests speak to an application without a socket.

import OpenAI from "openai";
import type { App } from "../../../server/http/app.ts";

export const base = "http://localhost";

export function post(
  app: App,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return app.fetch(
    new Request(base + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    }),
  );
}

export function get(app: App, path: string, headers: Record<string, string> = {}): Promise<Response> {
  return app.fetch(new Request(base + path, { headers }));
}

/** The official client, talking to the application directly. */
export function openai(app: App, options: { apiKey?: string } = {}): OpenAI {
  return new OpenAI({
    apiKey: "none",
    baseURL: `${base}/v1`,
    maxRetries: 0,
    fetch: (url, init) => app.fetch(new Request(url, init as RequestInit)),
    ...options,
  });
}

/** The parsed events of a stream; `[DONE]` as that word. */
export async function events(response: Response): Promise<unknown[]> {
  const text = await response.text();
  return text.split("\n\n").filter((each) => each.startsWith("data: "))
    .map((each) => each.slice(6)).map((each) => each === "[DONE]" ? each : JSON.parse(each));
}

/** The `error` of an error answer. */
export async function errorOf(
  response: Response,
): Promise<{ message: string; type: string; param: string | null; code: string | null }> {
  const body = await response.json();
  return body.error;
}
