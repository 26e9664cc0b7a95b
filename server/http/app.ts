// The HTTP server as one function from request to response: middleware around a route file per API family. Nothing
// in here knows about sockets, so tests call it directly.

import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import { hostCheck, keyCheck, originCheck, unauthorized } from "./access.ts";
import type { AppEnv, Connection } from "./answer.ts";
import { chatRoutes } from "./chat.ts";
import { completionRoutes } from "./completions.ts";
import { debugRoutes } from "./debug.ts";
import { embeddingRoutes } from "./embeddings.ts";
import type { ServedEngine } from "./engine_api.ts";
import { errorResponse } from "./error_forms.ts";
import { ApiError, toApiError } from "./errors.ts";
import { gatewayRoutes } from "./gateway.ts";
import { healthRoutes } from "./health.ts";
import { messagesRoutes } from "./messages.ts";
import { metricRoutes } from "./metrics.ts";
import { modelRoutes } from "./models.ts";
import { nativeRoutes } from "./native.ts";
import { ollamaRoutes } from "./ollama.ts";
import { openApiRoutes } from "./openapi.ts";
import { defaultServerOptions, type ServerOptions } from "./options.ts";
import { pageRoutes } from "./page.ts";
import { rerankRoutes } from "./rerank.ts";
import { responsesRoutes } from "./responses.ts";
import { logLine, RequestRecord } from "./request_log.ts";
import { Service } from "./service.ts";
import { tokenizeRoutes } from "./tokenize.ts";

/** A running application. */
export interface App {
  /**
   * Answers a request.
   * @param connection Where it comes from.
   */
  fetch(request: Request, connection?: Partial<Connection>): Promise<Response>;
  /** State and counters, for whoever runs the server. */
  readonly service: Service;
}

/** Ids that clients may choose: visible ASCII, so that they can stand in headers and log lines. */
const clientId = /^[\x21-\x7e]{1,128}$/;
const mostIdLength = 128;

/** The application; until the engine is there it answers 503. */
export function createApp(
  engine: ServedEngine | Promise<ServedEngine>,
  options: Partial<ServerOptions> = {},
): App {
  const settings = { ...defaultServerOptions, ...options };
  const service = new Service(engine, settings);
  const app = new Hono<AppEnv>();

  app.use(requestId({
    limitLength: mostIdLength,
    generator: (c) => {
      const given = c.req.header("x-request-id");
      return given !== undefined && clientId.test(given) ? given : newId(c.req.path);
    },
  }));
  app.use(async (c, next) => {
    const id = c.get("requestId");
    const { logFormat, log } = settings;
    const about = { remote: c.env?.remote ?? "-", method: c.req.method, path: c.req.path };
    const record = new RequestRecord(id, about, (entry) => {
      if (logFormat !== "none") log(logLine(entry, logFormat));
    });
    c.set("record", record);
    await next();
    c.res.headers.set("x-request-id", id);
    if (c.req.path.startsWith("/v1/messages")) c.res.headers.set("request-id", id); // Anthropic's name for it
    record.status = c.res.status;
    if (!record.streaming) record.finish();
  });
  app.use(hostCheck(settings), originCheck(settings), keyCheck(settings));

  const families = [
    chatRoutes,
    completionRoutes,
    responsesRoutes,
    messagesRoutes,
    ollamaRoutes,
    embeddingRoutes,
    rerankRoutes,
    modelRoutes,
    nativeRoutes,
    tokenizeRoutes,
    healthRoutes,
    gatewayRoutes,
    metricRoutes,
    debugRoutes,
    openApiRoutes,
    pageRoutes,
  ];
  const routes = families.map((routesOf) => routesOf(service));
  for (const each of routes) app.route("/", each);
  const methods = allowedMethods(routes);

  app.notFound((c) => {
    const allow = methods(c.req.path);
    if (allow.length === 0) {
      const message = `there is no ${c.req.path.slice(0, 100)} here; GET /openapi.json lists what there is`;
      return refuse(c, new ApiError(404, message, { code: "not_found" }));
    }
    const error = new ApiError(405, `use ${allow.join(" or ")} for ${c.req.path}`, {
      code: "method_not_allowed",
      headers: { allow: allow.join(", ") },
    });
    return refuse(c, error);
  });
  app.onError((error, c) => {
    // Only the checks of the key throw this one.
    const apiError = error instanceof HTTPException ? unauthorized(c.req.path) : toApiError(error);
    if (!(error instanceof ApiError || error instanceof HTTPException)) {
      settings.log(error.stack ?? String(error));
    }
    service.metrics.rejected(apiError);
    c.get("record").outcome ??= apiError.message;
    return refuse(c, apiError);
  });

  return {
    service,
    fetch: async (request, connection = {}) => await app.fetch(request, connection),
  };
}

/** An error in the form of the API that was called. */
function refuse(c: Context<AppEnv>, error: ApiError): Response {
  return errorResponse(error, c.req.path, c.get("requestId"));
}

function newId(path: string): string {
  const random = crypto.randomUUID().replaceAll("-", "");
  if (path === "/v1/chat/completions") return `chatcmpl-${random}`;
  if (path === "/v1/completions") return `cmpl-${random}`;
  if (path === "/v1/responses") return `resp_${random}`;
  if (path === "/v1/messages") return `msg_${random}`;
  if (path.endsWith("/rerank")) return `rerank-${random}`;
  if (path.endsWith("/score")) return `score-${random}`;
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
