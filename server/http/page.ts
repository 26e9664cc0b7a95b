// GET /: a page for trying the model in a browser. One file, embedded in the program; it loads nothing from
// elsewhere, and its content security policy would not let it.

import { createHash } from "node:crypto";
import { Hono } from "hono";
import page from "../page/index.html" with { type: "text" };
import type { AppEnv } from "./answer.ts";

/** GET /: the page for trying the model. */
export function pageRoutes(): Hono<AppEnv> {
  const hashes = (tag: "script" | "style") =>
    [...page.matchAll(new RegExp(`<${tag}(?: [^>]*)?>([^]*?)</${tag}>`, "g"))]
      .map((match) => `'sha256-${createHash("sha256").update(match[1]!).digest("base64")}'`).join(" ");
  const policy = [
    "default-src 'none'",
    `script-src ${hashes("script")}`,
    `style-src ${hashes("style")}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  const app = new Hono<AppEnv>();
  app.get("/", (c) => {
    c.header("content-security-policy", policy);
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
    return c.html(page);
  });
  return app;
}
