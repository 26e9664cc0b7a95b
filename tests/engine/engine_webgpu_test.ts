import { gpuTest } from "../gpu.ts";
import { testEngine } from "./engine.ts";

// A software driver takes minutes for another type of cache; its pages are found as those of the first.
testEngine("webgpu", gpuTest, ["auto"]);
