// How a request to a model begins: a server that is ready, a body that fits its schema, a model that is served.

import type { Context } from "hono";
import type { z } from "zod";
import type { AppEnv } from "./answer.ts";
import { readJson } from "./body.ts";
import { requireModel } from "./params.ts";
import { validate } from "./schemas/validate.ts";
import type { Service } from "./service.ts";

/**
 * The checked body of a request.
 * @param names Under which the model is served, if others than usual.
 * @throws {ApiError} 503, 400 or 404; not ready is said before anything is read
 */
export async function readRequest<T extends { readonly model?: string | null | undefined }>(
  c: Context<AppEnv>,
  service: Service,
  schema: z.ZodType<T>,
  names?: readonly string[],
): Promise<T> {
  service.readyEngine;
  const request = validate(schema, await readJson(c.req.raw, service.options));
  requireModel(request.model, names ?? service.modelNames);
  return request;
}
