// What the soak sends: ordinary requests whose answer is known, and everything that clients do wrong. Each sends one
// request and says how it went; what must not happen is thrown.

/** A prompt whose greedy answer is known. */
export interface Known {
  /** The user's message. */
  readonly question: string;
  /** Most tokens of the answer. */
  readonly tokens: number;
  /** What the server answers when it has nothing else to do. */
  answer: string;
}

/** How a request went: its status, or "left" if the client left before the end. */
export type Result = number | "left";

/** Where to send. */
export interface Target {
  /** Address of the server. */
  readonly url: string;
  /** One of its keys. */
  readonly key: string;
  /** Number in [0, 1). */
  readonly random: () => number;
}

/** A kind of request, and how often it is sent in relation to the others. */
export interface Kind {
  /** For the summary. */
  readonly name: string;
  /** Relative frequency. */
  readonly weight: number;
  /** Sends one. @throws {Error} when the answer is wrong */
  send(target: Target, known: readonly Known[]): Promise<Result>;
}

function headers(key: string): Record<string, string> {
  return { "content-type": "application/json", authorization: `Bearer ${key}` };
}

const patience = 120_000;

function post(target: Target, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return fetch(target.url + path, {
    method: "POST",
    headers: headers(target.key),
    body: typeof body === "string" ? body : JSON.stringify(body),
    // What is not answered by then is lost: the longest queue takes seconds.
    signal: signal ?? AbortSignal.timeout(patience),
  });
}

function pick<T>(target: Target, list: readonly T[]): T {
  return list[Math.floor(target.random() * list.length)]!;
}

function chat({ question, tokens }: Known): Record<string, unknown> {
  return { messages: [{ role: "user", content: question }], max_tokens: tokens, temperature: 0 };
}

/** The answer to a known question. */
export async function ask(target: Target, known: Known): Promise<{ status: number; text: string }> {
  const response = await post(target, "/v1/chat/completions", chat(known));
  const body = await response.json();
  return { status: response.status, text: body.choices?.[0]?.message.content ?? "" };
}

function compare(known: Known, text: string): void {
  if (text === known.answer) return;
  throw new Error(`wrong answer to ${JSON.stringify(known.question)}: ${JSON.stringify(text)}`);
}

/** Sends a body whose refusal is known. */
async function refused(target: Target, path: string, body: unknown, status: number): Promise<Result> {
  const response = await post(target, path, body);
  await response.body?.cancel();
  // A full queue or a fault may come first.
  if (response.status !== status && response.status !== 429 && response.status < 500) {
    throw new Error(`${path} answered ${response.status} instead of ${status}`);
  }
  return response.status;
}

/** Writes bytes by hand, and leaves after some milliseconds. */
async function raw(target: Target, text: string, stay: number, halfClose = false): Promise<Result> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(target.url).port) });
  try {
    await connection.write(new TextEncoder().encode(text));
    if (halfClose) await connection.closeWrite();
    await new Promise((resolve) => setTimeout(resolve, stay));
  } catch {
    // The server may have closed it.
  } finally {
    connection.close();
  }
  return "left";
}

const nested = '{"a":'.repeat(3_000) + "1" + "}".repeat(3_000);

/** Everything that is sent. */
export const kinds: readonly Kind[] = [
  {
    name: "chat",
    weight: 30,
    async send(target, known) {
      const each = pick(target, known);
      const { status, text } = await ask(target, each);
      if (status === 200) compare(each, text);
      return status;
    },
  },
  {
    name: "chat, streamed",
    weight: 30,
    async send(target, known) {
      const each = pick(target, known);
      const response = await post(target, "/v1/chat/completions", { ...chat(each), stream: true });
      const text = await response.text();
      if (response.status !== 200) return response.status;
      if (/^data: \{"error"/m.test(text)) return 503; // a fault in mid-stream
      if (!text.endsWith("data: [DONE]\n\n")) throw new Error("a stream was cut off");
      const parts = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, json]) => JSON.parse(json!));
      compare(each, parts.map((part) => part.choices[0]?.delta.content ?? "").join(""));
      return 200;
    },
  },
  {
    name: "chat, client leaves",
    weight: 15,
    async send(target, known) {
      const signal = AbortSignal.timeout(1 + Math.floor(target.random() * 200));
      const stream = target.random() < 0.5;
      try {
        const body = { ...chat(pick(target, known)), max_tokens: 300, ignore_eos: true, stream };
        const response = await post(target, "/v1/chat/completions", body, signal);
        await response.text();
        return response.status;
      } catch {
        return "left";
      }
    },
  },
  {
    name: "several choices",
    weight: 3,
    async send(target, known) {
      const body = { ...chat(pick(target, known)), n: 8, temperature: 1 };
      const response = await post(target, "/v1/chat/completions", body);
      await response.text();
      return response.status;
    },
  },
  {
    name: "tokenize and back",
    weight: 5,
    async send(target, known) {
      const text = pick(target, known).question;
      const response = await post(target, "/tokenize", { prompt: text });
      const { tokens } = await response.json();
      if (response.status !== 200) return response.status;
      const back = await post(target, "/detokenize", { tokens });
      const { text: same } = await back.json();
      if (back.status === 200 && same !== text) throw new Error(`detokenize gave ${JSON.stringify(same)}`);
      return back.status;
    },
  },
  { name: "no JSON", weight: 2, send: (target) => refused(target, "/v1/completions", "{", 400) },
  {
    name: "deep JSON in JSON",
    weight: 2,
    send: (target) => {
      const call = { function: { name: "f", arguments: nested } };
      const messages = [{ role: "assistant", tool_calls: [call] }];
      return refused(target, "/v1/chat/completions", { messages }, 400);
    },
  },
  {
    name: "a prompt of 2 MB",
    weight: 1,
    send: (target) => refused(target, "/v1/completions", { prompt: "word ".repeat(400_000) }, 400),
  },
  {
    name: "a wrong key",
    weight: 2,
    send: (target) => refused({ ...target, key: "nobody" }, "/v1/completions", { prompt: "x" }, 401),
  },
  {
    name: "half-sent headers",
    weight: 2,
    send: (target) => raw(target, "POST /v1/completions HTTP/1.1\r\nhost: local", 3_000),
  },
  {
    name: "half-sent body",
    weight: 2,
    send: (target) =>
      raw(
        target,
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer one\r\n" +
          'content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"prompt"',
        500,
      ),
  },
  {
    name: "half-closed, then gone",
    weight: 2,
    send: (target, known) => {
      const body = JSON.stringify({ ...chat(pick(target, known)), max_tokens: 300, ignore_eos: true });
      return raw(
        target,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer two\r\n" +
          `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        100,
        true,
      );
    },
  },
];
