// Who may speak to the server. Three checks, each against another kind of stranger: a `Host` that is not ours (DNS
// rebinding: a web page whose name was pointed at this machine), an `Origin` that is not ours (a web page that calls
// us from the browser of someone who can reach us), and the key.

import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./answer.ts";
import { ApiError } from "./errors.ts";
import type { ServerOptions } from "./options.ts";

/** The `Host` header must name this machine if the server listens on loopback only. */
export function hostCheck(options: ServerOptions): MiddlewareHandler<AppEnv> {
  const allowed = new Set(options.allowedHosts.map((host) => host.toLowerCase()));
  return async (c, next) => {
    const host = c.req.header("host") ?? new URL(c.req.url).host;
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
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin === undefined) return next();
    const cors = any || allowed.has(origin);
    if (!cors && !isSameOrigin(origin, c.req.header("host") ?? new URL(c.req.url).host)) {
      throw new ApiError(403, "pages of this origin may not call the server; see --cors-origin", {
        code: "forbidden_origin",
      });
    }
    const preflight = c.req.method === "OPTIONS" &&
      c.req.header("access-control-request-method") !== undefined;
    if (preflight) c.res = new Response(null, { status: 204, headers: preflightHeaders });
    else await next();
    if (!cors) return;
    c.res.headers.set("access-control-allow-origin", any ? "*" : origin);
    c.res.headers.set("access-control-expose-headers", "x-request-id, retry-after");
    if (!any) c.res.headers.append("vary", "origin");
  };
}

const preflightHeaders = {
  "access-control-allow-methods": "GET, POST",
  "access-control-allow-headers": "authorization, content-type, x-request-id",
  "access-control-max-age": "86400",
};

/**
 * The key, as `Authorization: Bearer` or as the password of `Basic` (that is how a browser can open the page at
 * `/`). Compared in constant time. `/health` is open.
 */
export function keyCheck(options: ServerOptions): MiddlewareHandler<AppEnv> {
  const { apiKey } = options;
  if (apiKey === null) return (_c, next) => next();
  const expected = digest(apiKey);
  return async (c, next) => {
    if (c.req.path !== "/health") {
      const given = presentedKey(c.req.header("authorization") ?? "");
      if (given === null || !timingSafeEqual(digest(given), expected)) {
        const challenge = c.req.path === "/" ? 'Basic realm="radish", charset="UTF-8"' : "Bearer";
        throw new ApiError(401, "a valid key is needed: Authorization: Bearer <key>", {
          code: "invalid_api_key",
          headers: { "www-authenticate": challenge },
        });
      }
    }
    await next();
  };
}

/** Equal lengths make the comparison's time tell nothing. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function presentedKey(header: string): string | null {
  const [scheme, value] = header.split(" ", 2);
  if (value === undefined) return null;
  switch (scheme!.toLowerCase()) {
    case "bearer":
      return value;
    case "basic": {
      const pair = Buffer.from(value, "base64").toString("utf8");
      return pair.slice(pair.indexOf(":") + 1);
    }
    default:
      return null;
  }
}

/** Without the port, in lower case; brackets of IPv6 stay. */
function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, "");
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost") || name === "[::1]" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

function isSameOrigin(origin: string, host: string): boolean {
  const own = `http://${host}`;
  return URL.canParse(origin) && URL.canParse(own) && new URL(origin).host === new URL(own).host;
}
