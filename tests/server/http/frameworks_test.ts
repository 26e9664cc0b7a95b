// Frameworks that ask for structured output through the official client, unchanged, against the real engine.

import assert from "node:assert/strict";
import { hasPython, python } from "../../python.ts";
import { onLoopback } from "./loopback.ts";
import { startPocket } from "./pocket.ts";

interface Person {
  readonly name: string;
  readonly age: number;
  readonly pet: string;
}

const frameworks = [
  {
    name: "instructor",
    packages: ["instructor", "openai"],
    ways: ["JSON_SCHEMA", "TOOLS", "TOOLS_STRICT", "FUNCTIONS"],
  },
  {
    name: "langchain",
    packages: ["langchain_openai"],
    ways: ["json_schema", "function_calling"].flatMap((method) =>
      ["None", "False", "True"].map((strict) => `${method} ${strict}`)
    ),
  },
];

for (const { name, packages, ways } of frameworks) {
  const there = await hasPython(...packages);
  const reason = there ? "" : ` (ignored: pip install ${packages.join(" ").replaceAll("_", "-")})`;
  Deno.test({
    name: `${name} gets objects of its pydantic model, by every way to ask for them${reason}`,
    ignore: !there,
    async fn() {
      await using pocket = await startPocket({ device: "cpu" });
      await using server = onLoopback(pocket.engine);
      const script = new URL("frameworks.py", import.meta.url);
      const found = await python<Record<string, Person>>(script, { url: server.url }, name);
      assert.deepEqual(Object.keys(found), ways);
      for (const { name, age, pet } of Object.values(found)) {
        assert.ok(name.length <= 10 && age >= 0 && age <= 120 && ["cat", "dog"].includes(pet));
      }
    },
  });
}
