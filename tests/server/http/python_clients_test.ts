// The official Python clients, unchanged, against the real engine over a socket.

import assert from "node:assert/strict";
import { hasPython, python } from "../../python.ts";
import { onLoopback } from "./loopback.ts";
import { startPocket } from "./pocket.ts";

const there = await hasPython("openai", "anthropic", "ollama");
const reason = there ? "" : " (ignored: pip install openai anthropic ollama)";

Deno.test({
  name: `Python's clients of OpenAI, Anthropic and Ollama get answers, streams, calls and errors${reason}`,
  ignore: !there,
  async fn() {
    await using pocket = await startPocket({ device: "cpu" });
    await using server = onLoopback(pocket.engine);
    const script = new URL("python_clients.py", import.meta.url);
    const found = await python<Record<string, unknown>>(script, { url: server.url });
    const sum = "23 plus 48 is 71.";
    assert.deepEqual(found, {
      "chat": sum,
      "responses": sum,
      "responses stream": sum,
      "responses call": { city: "Paris" },
      "responses after the call": "completed",
      "embeddings": [192, 192],
      "embeddings, shorter": 8,
      "responses error": "model_not_found",
      "messages": sum,
      "messages stream": sum,
      "messages count": 18,
      "messages call": { city: "Paris" },
      "messages after the call": "end_turn",
      "messages error": "not_found_error",
      "ollama": sum,
      "ollama stream": sum,
      "ollama call": { city: "Paris" },
      "ollama embed": true,
      "ollama embeddings": 192,
      "ollama list": ["pocket:latest"],
      "ollama show": ["completion", "tools"],
      "ollama error": 404,
    });
  },
});
