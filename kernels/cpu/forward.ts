// One forward on the CPU: turns the decoder's calls into programs and runs them.
//
// Operations are collected as long as they concern one bank; a change of bank, a collective and the sampling run
// what there is. Steps with many tokens are cut into chunks of 512, so that packed inputs and sums stay small.

import type { BatchPlan } from "../../engine/plan.ts";
import type {
  Activation,
  AttentionArgs,
  Collective,
  LinearArgs,
  Matrix,
  MoeArgs,
  Norm,
  Ops,
  RopeStoreArgs,
  SampleArgs,
} from "../ops.ts";
import type { Bank, Region } from "./bank.ts";
import { type CpuMatrix, type CpuRopeTable, type CpuVector, dtypeCode } from "./matrix.ts";
import { ExpertLayer } from "./experts.ts";
import { Epilogue, Kind, Real } from "./program.ts";
import type { CpuState } from "./state.ts";
import { type StepSamples, Sampler } from "./sampling.ts";
import { type CpuActivation, maxChunk, type Workspace } from "./workspace.ts";
