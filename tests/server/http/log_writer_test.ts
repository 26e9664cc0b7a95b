import assert from "node:assert/strict";
import { escapeControls, LogWriter } from "../../../server/http/log_writer.ts";

Deno.test("lines come out whole and in order, whatever the sink takes at a time", async () => {
  let out = "";
  const writer = new LogWriter({
    write: (bytes) => {
      out += new TextDecoder().decode(bytes.subarray(0, 3));
      return Promise.resolve(Math.min(3, bytes.length));
    },
  });
  writer.write("one");
  writer.write("two");
  await writer.flush();
  writer.write("three");
  await writer.flush();
  assert.equal(out, "one\ntwo\nthree\n");
  assert.equal(writer.dropped, 0);
});

Deno.test("a sink that fails costs the lines, which are counted, and nothing else", async () => {
  let full = true;
  let out = "";
  const writer = new LogWriter({
    write: (bytes) => {
      if (full) return Promise.reject(new Error("No space left on device"));
      out += new TextDecoder().decode(bytes);
      return Promise.resolve(bytes.length);
    },
  });
  for (let i = 0; i < 5; i++) writer.write("lost");
  await writer.flush();
  assert.equal(writer.dropped, 5);
  full = false;
  writer.write("kept");
  await writer.flush();
  assert.equal(out, "kept\n");
});

Deno.test("a sink that never answers holds up nothing, and what waits is bounded", () => {
  const writer = new LogWriter({ write: () => new Promise(() => {}) });
  for (let i = 0; i < 3_000; i++) writer.write("x".repeat(1000));
  assert.ok(writer.dropped > 1_900 && writer.dropped < 2_000, `${writer.dropped} dropped`);
});

Deno.test("no text of a client makes a second line or steers a terminal", () => {
  const escaped = escapeControls("GET /\n2026 forged\r\x1b[31m\x00\x9b\u2028\u202eabc ünïcode");
  assert.equal(escaped, "GET /\\n2026 forged\\x0d\\x1b[31m\\x00\\x9b\\u2028\\u202eabc ünïcode");
});
