// A hub on loopback: Hugging Face's API and file storage (and ModelScope's) as far as pulling uses them, on two
// addresses (the hub and its storage), with every kind of trouble on demand.

import { createHash } from "node:crypto";

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const name = "owner/model-1";

/** Troubles for requests of files; each is used up by the requests it happens to. */
export interface Trouble {
  /** Answers with this status so many times, with this Retry-After. */
  status?: { code: number; times: number; retryAfter?: string };
  /** Breaks so many connections after this many bytes. */
  cut?: { after: number; times: number };
  /** Sends nothing more after this many bytes, so many times. */
  stall?: { after: number; times: number };
  /** Spoils the first byte of so many answers. */
  spoil?: number;
  /** Ignores ranges. */
  noRanges?: boolean;
  /** Redirects every file request here instead of to the storage. */
  redirect?: string;
}

export interface Seen {
  readonly host: "hub" | "storage";
  readonly path: string;
  readonly range: string | null;
  readonly authorization: string | null;
}

export class HubStandIn implements AsyncDisposable {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly trouble: Trouble = {};
  readonly seen: Seen[] = [];
  /** Changes to what the API says about a file, to lie. */
  lie: (entry: Record<string, unknown>) => Record<string, unknown> = (entry) => entry;
  /** When set, only requests that carry it are answered. */
  token: string | null = null;
  readonly #hub: Deno.HttpServer<Deno.NetAddr>;
  readonly #storage: Deno.HttpServer<Deno.NetAddr>;
  readonly #stalled = new Set<ReadableStreamDefaultController<Uint8Array>>();

  constructor() {
    const options = {
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      onError: () => new Response(null, { status: 500 }),
    };
    this.#hub = Deno.serve(options, (request) => this.#answerHub(request));
    this.#storage = Deno.serve(options, (request) => this.#answerStorage(request));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#hub.addr.port}`;
  }

  get storageUrl(): string {
    return `http://127.0.0.1:${this.#storage.addr.port}`;
  }

  add(path: string, content: string | Uint8Array<ArrayBuffer>): this {
    this.files.set(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
    return this;
  }

  /** Requests of files' contents, at the storage. */
  transfers(path?: string): Seen[] {
    return this.seen.filter((seen) =>
      seen.host === "storage" &&
      (path === undefined || seen.path === `/${path}`)
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const controller of this.#stalled) controller.error(new Error("over"));
    await Promise.all([this.#hub.shutdown(), this.#storage.shutdown()]);
  }

  #note(host: Seen["host"], request: Request): URL {
    const url = new URL(request.url);
    const { headers } = request;
    this.seen.push({
      host,
      path: url.pathname,
      range: headers.get("range"),
      authorization: headers.get("authorization"),
    });
    return url;
  }

  #answerHub(request: Request): Response {
    const url = this.#note("hub", request);
    if (this.token !== null && request.headers.get("authorization") !== `Bearer ${this.token}`) {
      return Response.json({ error: "Invalid credentials" }, { status: 401 });
    }
    const path = decodeURIComponent(url.pathname);
    const api = `/api/models/${name}`;
    if (path.startsWith(`${api}/revision/`)) {
      return Response.json({ _id: "1", id: name, sha: commit, lastModified: "2026-01-01T00:00:00Z" });
    }
    if (path === `${api}/tree/${commit}`) return this.#tree(url);
    if (path === `/api/v1/models/${name}/repo/files`) {
      return this.#modelScopeFiles();
    }
    const file = path === `/api/v1/models/${name}/repo`
      ? url.searchParams.get("FilePath")
      : path.startsWith(`/${name}/resolve/${commit}/`)
      ? path.slice(`/${name}/resolve/${commit}/`.length)
      : null;
    if (file === null || !this.files.has(file)) {
      return Response.json({ error: "not found" }, { status: 404 });
    }
    const { status } = this.trouble;
    if (status && status.times-- > 0) {
      const headers = new Headers(
        status.retryAfter === undefined ? {} : { "retry-after": status.retryAfter },
      );
      return new Response("trouble", { status: status.code, headers });
    }
    return new Response(null, {
      status: 302,
      headers: {
        location: this.trouble.redirect ?? `${this.storageUrl}/${file}`,
      },
    });
  }

  /** Two pages of the file list. */
  #tree(url: URL): Response {
    const entries = [...this.files].map(([path, content]) => this.lie(treeEntry(path, content)));
    entries.push({ type: "directory", path: "original", oid: commit, size: 0 });
    const half = Math.ceil(entries.length / 2);
    if (url.searchParams.has("cursor")) {
      return Response.json(entries.slice(half));
    }
    const next = `${this.url}${url.pathname}?cursor=2`;
    return Response.json(entries.slice(0, half), {
      headers: { link: `<${next}>; rel="next"` },
    });
  }

  #modelScopeFiles(): Response {
    const Files = [...this.files].map(([path, content]) =>
      this.lie({
        Path: path,
        Type: "blob",
        Size: content.length,
        Sha256: sha256(content),
      })
    );
    return Response.json({
      Code: 200,
      Data: { Files: [...Files, { Path: "figures", Type: "tree", Size: 0 }] },
    });
  }

  #answerStorage(request: Request): Response {
    const url = this.#note("storage", request);
    const content = this.files.get(url.pathname.slice(1));
    if (!content) return new Response(null, { status: 404 });
    const { trouble } = this;
    const range = trouble.noRanges ? null : /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, content.length];
    let data = content.slice(start, end);
    if (trouble.spoil !== undefined && trouble.spoil > 0 && data.length > 0) {
      trouble.spoil--;
      data = data.slice();
      data[0]! ^= 1;
    }
    const headers = range ? { "content-range": `bytes ${start}-${end - 1}/${content.length}` } : undefined;
    return new Response(this.#body(data), {
      status: range ? 206 : 200,
      ...(headers && { headers }),
    });
  }

  #body(data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>> {
    const { cut, stall } = this.trouble;
    if (cut && cut.times > 0 && data.length > cut.after) {
      cut.times--;
      const broken = [data.slice(0, cut.after)];
      return new ReadableStream({
        pull(controller) {
          const part = broken.pop();
          if (part) controller.enqueue(part);
          else controller.error(new Error("cut"));
        },
      });
    }
    if (stall && stall.times > 0 && data.length > stall.after) {
      stall.times--;
      return new ReadableStream({
        start: (controller) => {
          controller.enqueue(data.slice(0, stall.after));
          this.#stalled.add(controller);
        },
        cancel: () => {
          this.#stalled.clear();
        },
      });
    }
    return data;
  }
}

function treeEntry(path: string, content: Uint8Array): Record<string, unknown> {
  const blob = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
  const entry = { type: "file", path, size: content.length, oid: blob };
  if (!/\.(safetensors|gguf)$/.test(path)) return entry;
  return {
    ...entry,
    oid: commit,
    lfs: { oid: sha256(content), size: content.length, pointerSize: 134 },
  };
}

export function sha256(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
