// The HTTP server as one function from request to response: middleware around a route file per API family. Nothing
// in here knows about sockets, so tests call it directly.

import { Hono } from "hono";
import { hostCheck, keyCheck, originCheck } from "./access.ts";
import type { AppEnv } from "./answer.ts";
import { chatRoutes } from "./chat.ts";
import { completionRoutes } from "./completions.ts";
import type { ServedEngine } from "./engine_api.ts";
import { ApiError, toApiError } from "./errors.ts";
import { gatewayRoutes } from "./gateway.ts";
import { healthRoutes } from "./health.ts";
import { metricRoutes } from "./metrics.ts";
import { modelRoutes } from "./models.ts";
import { nativeRoutes } from "./native.ts";
import { openApiRoutes } from "./openapi.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { pageRoutes } from "./page.ts";
import { logLine, RequestRecord } from "./request_log.ts";
import { Service } from "./service.ts";
import { tokenizeRoutes } from "./tokenize.ts";

/** A running application. */
export interface App {
  /**
   * Answers a request.
   * @param remote The client's address, for the access log.
   */
  fetch(request: Request, remote?: string): Promise<Response>;
  /** State and counters, for whoever runs the server. */
  readonly service: Service;
}

/** Ids that clients may choose: visible ASCII, so that they can stand in headers and log lines. */
const clientId = /^[\x21-\x7e]{1,128}$/;

/** The application; until the engine is there it answers 503. */
export function createApp(
  engine: ServedEngine | Promise<ServedEngine>,
  options: Partial<ServerOptions> = {},
): App {
  const settings = { ...defaultServerOptions, ...options };
  const service = new Service(engine, settings);
  const app = new Hono<AppEnv>();

  app.use(async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given !== undefined && clientId.test(given) ? given : newId(c.req.path);
    const { logFormat, log } = settings;
    const about = { remote: c.env?.remote ?? "-", method: c.req.method, path: c.req.path };
    const record = new RequestRecord(id, about, (entry) => {
      if (logFormat !== "none") log(logLine(entry, logFormat));
    });
    c.set("record", record);
    await next();
    c.res.headers.set("x-request-id", id);
    record.status = c.res.status;
    if (!record.streaming) record.finish();
  });
  app.use(hostCheck(settings), originCheck(settings), keyCheck(settings));

  const families = [
    chatRoutes,
    completionRoutes,
    modelRoutes,
    nativeRoutes,
    tokenizeRoutes,
    healthRoutes,
    gatewayRoutes,
    metricRoutes,
    openApiRoutes,
    pageRoutes,
  ];
  const routes = families.map((routesOf) => routesOf(service));
  for (const each of routes) app.route("/", each);
  const methods = allowedMethods(routes);

  app.notFound((c) => {
    const allow = methods(c.req.path);
    if (allow.length === 0) {
      return new ApiError(
        404,
        `there is no ${c.req.path.slice(0, 100)} here; GET /openapi.json lists what there is`,
        {
          code: "not_found",
        },
      ).response();
    }
    return new ApiError(405, `use ${allow.join(" or ")} for ${c.req.path}`, {
      code: "method_not_allowed",
      headers: { allow: allow.join(", ") },
    }).response();
  });
  app.onError((error, c) => {
    if (!(error instanceof ApiError)) settings.log(error.stack ?? String(error));
    const apiError = toApiError(error);
    const record = c.get("record");
    record.outcome ??= apiError.message;
    return apiError.response();
  });

  return {
    service,
    fetch: async (request, remote) => await app.fetch(request, remote === undefined ? {} : { remote }),
  };
}

function newId(path: string): string {
  const random = crypto.randomUUID().replaceAll("-", "");
  if (path === "/v1/chat/completions") return `chatcmpl-${random}`;
  if (path === "/v1/completions") return `cmpl-${random}`;
  return random;
}

/** Methods of the routes that a path matches, for "405 Method Not Allowed". */
function allowedMethods(routes: readonly Hono<AppEnv>[]): (path: string) => string[] {
  const known = routes.flatMap((app) => app.routes).map(({ method, path }) => ({
    method,
    pattern: new URLPattern({ pathname: path.replace(/:(\w+)\{(.+)\}/, ":$1($2)") }),
  }));
  return (path) => {
    const found = known.filter(({ pattern }) => pattern.test({ pathname: path })).map(({ method }) => method);
    return [...new Set(found)];
  };
}
