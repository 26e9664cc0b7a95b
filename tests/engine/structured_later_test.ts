// Structured output on the CPU as it is on a GPU: constrained rows are in every plan, and drawn in plans of their own.

import { testStructured } from "./structured.ts";

testStructured("cpu", 1, Deno.test, { drawLater: true });
