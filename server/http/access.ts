// Who may speak to the server. Three checks, each against another kind of stranger: a `Host` that is not ours (DNS
// rebinding: a web page whose name was pointed at this machine), an `Origin` that is not ours (a web page that calls
// us from the browser of someone who can reach us), and the key.

import type { Context, MiddlewareHandler, Next } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bearerAuth } from "hono/bearer-auth";
import { some } from "hono/combine";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { createHash, timingSafeEqual } from "node:crypto";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import type { ServerOptions } from "./options.ts";

/** The `Host` header must name this machine if the server listens on loopback only. */
export function hostCheck(options: ServerOptions): MiddlewareHandler<AppEnv> {
  const allowed = new Set(options.allowedHosts.map((host) => host.toLowerCase()));
  return async (c, next) => {
    const host = hostOf(c);
    const name = hostName(host);
    if (options.loopback && !isLoopbackName(name) && !allowed.has(name) && !allowed.has(host.toLowerCase())) {
      throw new ApiError(
        403,
        "this host name is not allowed here; start the server with --allowed-host to accept it",
        { code: "forbidden_host" },
      );
    }
    await next();
  };
}

/** Browsers say where a page comes from; other pages than our own get in only if `--cors-origin` names them. */
export function originCheck(options: ServerOptions): MiddlewareHandler<AppEnv> {
  const any = options.corsOrigins.includes("*");
  const allowed = new Set(options.corsOrigins);
  // Without a list of headers the preflight allows those it is asked for: OpenAI's client sends a dozen of its own.
  const allow = cors({
    origin: any ? "*" : [...allowed],
    allowMethods: ["GET", "POST"],
    exposeHeaders: ["x-request-id", "retry-after"],
    maxAge: 86_400,
  });
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin === undefined) return await next();
    if (any || allowed.has(origin)) return await allow(c, next);
    if (isForeign(c)) {
      throw new ApiError(403, "pages of this origin may not call the server; see --cors-origin", {
        code: "forbidden_origin",
      });
    }
    await next();
  };
}

/**
 * The key, as `Authorization: Bearer`, as `x-api-key`, or as the password of `Basic` (that is how a browser can open the page at
 * `/`). Compared in constant time. `/health` is open. Leaves behind whose request it is.
 */
export function keyCheck(options: ServerOptions): MiddlewareHandler<AppEnv> {
  const expected = options.apiKeys.map(digest);
  const known = (key: string, c: Context<AppEnv>): boolean => {
    const given = digest(key);
    // All are compared, so that the time tells nothing.
    const found = expected.map((each) => timingSafeEqual(given, each)).indexOf(true);
    if (found < 0) return false;
    const address = c.get("client");
    c.set("owner", `key ${found}`);
    c.set("client", expected.length > 1 ? `key ${found}` : address);
    return true;
  };
  const check = some(
    bearerAuth({ verifyToken: (key, c) => known(key, c) }),
    basicAuth({ verifyUser: (_, password, c) => known(password, c) }),
    async (c: Context<AppEnv>, next: Next) => {
      const key = c.req.header("x-api-key"); // Anthropic's clients
      if (key === undefined || !known(key, c)) throw new HTTPException(401);
      await next();
    },
  );
  return async (c, next) => {
    c.set("owner", `address ${c.env?.remote ?? "-"}`);
    c.set("client", `address ${c.env?.remote ?? "-"}`);
    if (expected.length === 0 || c.req.path === "/health") return await next();
    return await check(c, next);
  };
}

/** What a request without a valid key is told. */
export function unauthorized(path: string): ApiError {
  const challenge = path === "/" ? 'Basic realm="radish", charset="UTF-8"' : "Bearer";
  return new ApiError(401, "a valid key is needed: Authorization: Bearer <key>, or x-api-key: <key>", {
    code: "invalid_api_key",
    headers: { "www-authenticate": challenge },
  });
}

/** What a key may consist of (RFC 6750), or it could not be sent. */
export function isKey(key: string): boolean {
  return /^[A-Za-z0-9._~+/-]+=*$/.test(key);
}

/** Equal lengths make the comparison's time tell nothing. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/** Without the port, in lower case; brackets of IPv6 stay. */
function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, "");
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost") || name === "[::1]" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** The server's name and port, as the client knows them. */
function hostOf(c: Context<AppEnv>): string {
  return c.req.header("host") ?? new URL(c.req.url).host;
}

/** Whether the request comes from a page of another server. */
export function isForeign(c: Context<AppEnv>): boolean {
  const origin = c.req.header("origin"), own = `http://${hostOf(c)}`;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || !URL.canParse(own) || new URL(origin).host !== new URL(own).host;
}
