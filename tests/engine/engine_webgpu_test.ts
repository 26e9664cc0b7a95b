import { testEngine } from "./engine.ts";

testEngine("webgpu");
