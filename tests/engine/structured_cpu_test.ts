// Structured output on the CPU.

import { testStructured } from "./structured.ts";

testStructured("cpu", 2);
