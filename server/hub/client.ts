// HTTP for hubs: the token goes to the hub's own host and nowhere else, redirects are followed by hand to make sure
// of it, and what may pass (a broken connection, a busy server, a rate limit) is tried again.

import { setTimeout as wait } from "node:timers/promises";
import { ModelError } from "../../engine/model/json.ts";

/** How often and how long to try again. */
export interface RetryPolicy {
  /** Tries in a row without any progress. */
  readonly attempts: number;
  /** Milliseconds before the second try; doubles each time. */
  readonly delay: number;
  /** Longest wait that a server may ask for (Retry-After), in milliseconds. */
  readonly longestDelay: number;
  /** A transfer that brings nothing for so many milliseconds counts as broken. */
  readonly stall: number;
  /** A hub whose first answer does not begin within so many milliseconds counts as out of reach. */
  readonly contact: number;
}

/** Patient with a busy hub, in milliseconds; but whoever has no network should hear of it at once. */
export const defaultRetry: RetryPolicy = {
  attempts: 6,
  delay: 500,
  longestDelay: 300_000,
  stall: 30_000,
  contact: 5_000,
};

const mostRedirects = 10;
const mostMetadataBytes = 64 << 20;
/** Answers after which the same question may succeed. */
const passing = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A failure that may pass, with the pause that the server asked for. */
export class PassingError extends Error {
  /** The error's name. */
  override readonly name = "PassingError";
  /** `retryAfter` in milliseconds, if the server said. */
  constructor(message: string, readonly retryAfter: number | null = null) {
    super(message);
  }
}

/** Requests to one hub. */
export class HubClient {
  /** Where the hub is; the token goes to its host only. */
  readonly endpoint: URL;
  /** When and how often to try again. */
  readonly retry: RetryPolicy;
  /** Ends all requests. */
  readonly signal: AbortSignal | undefined;
  readonly #token: string | null;
  /** Whether it has ever answered. */
  #reached = false;

  /** `token` null for public models. */
  constructor(endpoint: string, token: string | null, retry: RetryPolicy, signal: AbortSignal | undefined) {
    if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
      throw new ModelError(`${endpoint} is not the address of a hub`);
    }
    this.endpoint = new URL(endpoint);
    this.#token = token;
    this.retry = retry;
    this.signal = signal;
  }

  /** For metadata, in the form of `fetch`: small answers only, with tries again. */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const { body, status, headers } = await this.retrying(() => this.open(url, new Headers(init.headers)));
    return new Response(body?.pipeThrough(limitBytes(mostMetadataBytes)) ?? null, { status, headers });
  };

  /** Repeats what fails with a `PassingError`. Where `progress` has grown by then, tries are counted from one again. */
  async retrying<T>(attempt: () => Promise<T>, progress: () => number = () => 0): Promise<T> {
    for (let tries = 1;; tries++) {
      const before = progress();
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof PassingError)) throw error;
        if (progress() > before) tries = 1;
        if (tries >= this.retry.attempts) throw new ModelError(error.message, { cause: error });
        await this.#pause(tries, error);
      }
    }
  }

  /** Waits before the next try, as long as the server asked for, or longer each time. */
  async #pause(tries: number, error: PassingError): Promise<void> {
    const delay = error.retryAfter ?? this.retry.delay * 2 ** (tries - 1);
    const options = this.signal ? { signal: this.signal } : {};
    await wait(Math.min(delay, this.retry.longestDelay), undefined, options).catch(() => {});
    this.signal?.throwIfAborted();
  }

  /**
   * One GET, redirects followed. Answers that are not failures in passing are returned whatever their status.
   * @throws PassingError
   */
  async open(url: URL, headers: Headers, signal = this.signal): Promise<Response> {
    let target = url;
    for (let hop = 0; hop <= mostRedirects; hop++) {
      headers.delete("authorization");
      if (this.#token !== null && target.origin === this.endpoint.origin) {
        headers.set("authorization", `Bearer ${this.#token}`);
      }
      const response = await this.#get(target, headers, signal);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || location === null) {
        return response;
      }
      await response.body?.cancel();
      target = this.#redirected(location, target);
    }
    throw new ModelError(`${url.origin}: more than ${mostRedirects} redirects`);
  }

  async #get(url: URL, headers: Headers, signal: AbortSignal | undefined): Promise<Response> {
    const response = this.#reached
      ? await this.#fetch(url, headers, signal)
      : await this.#firstContact(url, headers, signal);
    if (!passing.has(response.status)) return response;
    await response.body?.cancel();
    const message = response.status === 429
      ? `${url.host} limits the rate of requests (429); try again later`
      : `${url.host} answered with status ${response.status}`;
    throw new PassingError(message, retryAfter(response.headers.get("retry-after")));
  }

  async #fetch(url: URL, headers: Headers, signal: AbortSignal | undefined): Promise<Response> {
    try {
      return await fetch(url, { headers, redirect: "manual", ...(signal ? { signal } : {}) });
    } catch (error) {
      this.signal?.throwIfAborted();
      throw new PassingError(`${url.host} cannot be reached: ${firstLine(error)}`);
    }
  }

  /** Not tried again: without a network that would be silence before the same answer. */
  async #firstContact(url: URL, headers: Headers, signal: AbortSignal | undefined): Promise<Response> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), this.retry.contact);
    try {
      const response = await this.#fetch(
        url,
        headers,
        signal ? AbortSignal.any([signal, limit.signal]) : limit.signal,
      );
      this.#reached = true;
      return response;
    } catch (error) {
      if (!(error instanceof PassingError)) throw error;
      const reason = limit.signal.aborted
        ? `${url.host} has not answered for ${this.retry.contact / 1000} s`
        : error.message;
      throw new ModelError(
        `${reason}. Name a folder with the model, another hub with --source, or a mirror with HF_ENDPOINT; ` +
          "HF_HUB_OFFLINE=1 keeps to the cache",
        { cause: error },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  #redirected(location: string, from: URL): URL {
    const target = URL.parse(location, from);
    const allowed = target && (target.protocol === "https:" || target.protocol === from.protocol);
    if (!allowed || !/^https?:$/.test(target.protocol)) {
      throw new ModelError(`${from.host} redirects to an address that is not allowed`);
    }
    return target;
  }
}

/** Retry-After in milliseconds: seconds or a date. */
function retryAfter(value: string | null): number | null {
  if (value === null) return null;
  const seconds = Number(value);
  const delay = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delay) ? Math.max(0, delay) : null;
}

function limitBytes(most: number): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let total = 0;
  return new TransformStream({
    transform(chunk, controller) {
      total += chunk.length;
      if (total > most) {
        controller.error(new ModelError(`an answer of the hub exceeds ${most} bytes`));
      } else controller.enqueue(chunk);
    },
  });
}

/** An error's message without what follows its first line. Of a failed `fetch`, what the network said. */
export function firstLine(error: unknown): string {
  if (error instanceof TypeError && error.cause instanceof Error) return firstLine(error.cause);
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^error sending request for url \(.*?\): (client error \(\w+\): )?/, "")
    .split("\n")[0]!.slice(0, 200);
}
