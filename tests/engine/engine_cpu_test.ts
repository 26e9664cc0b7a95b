import { testEngine } from "./engine.ts";

testEngine("cpu");
