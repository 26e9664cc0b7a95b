// Checks a parsed body against a zod schema and turns the first fault into an error that names the field.

import type { z } from "zod";
import { ApiError, invalid } from "../errors.ts";

type Issue = z.core.$ZodIssue;

/**
 * The value, typed; unknown fields are dropped.
 *
 * @throws {ApiError} 400 whose `param` is the path of the first fault, for example `messages[2].content`.
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path, message } = deepest(result.error.issues[0]!, []);
  const param = formatPath(path);
  if (param === "") throw new ApiError(400, message, { code: "invalid_value" });
  throw invalid(param, `${param}: ${message}`);
}

/** In a union every branch has a complaint; the one that got furthest into the value is the one meant. */
function deepest(issue: Issue, prefix: readonly PropertyKey[]): { path: PropertyKey[]; message: string } {
  const path = [...prefix, ...issue.path];
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return { path, message: issue.message };
  const found = issue.errors.flatMap((branch) => branch[0] ? [deepest(branch[0], path)] : []);
  const furthest = Math.max(...found.map((each) => each.path.length));
  const best = found.filter((each) => each.path.length === furthest);
  const message = [...new Set(best.map((each) => each.message))].join(", or ");
  return { path: best[0]?.path ?? path, message: message || issue.message };
}

function formatPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += text === "" ? String(key) : `.${String(key)}`;
  }
  return text.slice(0, 200);
}
