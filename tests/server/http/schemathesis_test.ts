// Schemathesis makes requests from /openapi.json, right and wrong ones, and holds the answers to it: no 5xx, no status or
// media type that is not described, no body that is not what its schema says.
//
// Most of its cases, about 13,000, stand at the edges of what the schemas allow; of random ones
// RADISH_SCHEMATHESIS_EXAMPLES=150 makes fifty times as many, RADISH_TEST_SEED=N others.

import assert from "node:assert/strict";
import { listen } from "../../../server/http/server.ts";
import { startPocket } from "./pocket.ts";

const examples = Deno.env.get("RADISH_SCHEMATHESIS_EXAMPLES") ?? "3";
const seed = Deno.env.get("RADISH_TEST_SEED") ?? "1";
const checks =
  "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

async function isInstalled(): Promise<boolean> {
  try {
    const args = ["--version"];
    return (await new Deno.Command("schemathesis", { args, stdout: "null", stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}

const installed = await isInstalled();
const reason = installed ? "" : " (ignored: pip install schemathesis)";

Deno.test({
  name: `requests made from /openapi.json get the answers that it describes, and never a 5xx${reason}`,
  ignore: !installed,
  async fn() {
    // A short context, because a case that leaves max_tokens out generates to its end.
    await using pocket = await startPocket({ device: "cpu", contextLength: 64 });
    const server = listen(pocket.app, { hostname: "127.0.0.1", port: 0 });
    const folder = await Deno.makeTempDir();
    const { success, stdout } = await new Deno.Command("schemathesis", {
      args: [
        "run",
        `${server.url}/openapi.json`,
        "--checks",
        checks,
        "--max-examples",
        examples,
        "--seed",
        seed,
        "--request-timeout",
        "300",
        "--no-color",
      ],
      stderr: "null",
      cwd: folder, // it keeps a cache where it runs
    }).output();
    await Deno.remove(folder, { recursive: true });
    const report = new TextDecoder().decode(stdout);
    assert.ok(success, report.slice(-5_000));
    console.log(/Test cases:\n.*/.exec(report)?.[0].replace("\n", " "));
    await server.shutdown(0);
  },
});
