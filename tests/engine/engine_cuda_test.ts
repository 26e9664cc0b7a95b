import { cudaTest } from "../cuda.ts";
import { testEngine } from "./engine.ts";

testEngine("cuda", cudaTest);
