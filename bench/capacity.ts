// Capacity: how a server, or a fleet of them, would serve a stream of requests, simulated by radish's own scheduler
// with step times that were measured; and the simulation held against reality.
//
//   deno run -A bench/capacity.ts calibrate --model models/pocket --device cpu --out PROFILE.json
//   deno run -A bench/capacity.ts simulate --profile PROFILE.json --rates 2,8 --servers 1,4 --routing round-robin,prefix
//   deno run -A bench/capacity.ts validate --model models/pocket --device cpu --traces ../shared/traces --out FILE.json
//   deno run -A bench/capacity.ts validate --from FILE.json         the comparison again, from what was measured; --table
//                                                                   OUT.json writes it, without the measurements
//   deno run -A bench/capacity.ts size --results RESULT.json       how many users a card carries, from a peers result
//
// calibrate and validate start a server (--dummy-weights for a shape without weights) with a recorder in its scheduler;
// --seconds is the length of the calibration and of each load (--load-seconds, another one); validate spends half of
// that on calibrating before each load and again after the last, and predicts from all of these. It replays the first
// .csv trace of --traces (or, without it, Poisson arrivals) at --loads, shares of the throughput that the simulation says
// is the most; --scale shortens its prompts and answers. simulate writes a page with plots to --html. All that is random
// comes from --seed.

import { runSize } from "./capacity/size_command.ts";
import { runCalibrate, runSimulate, runValidate } from "./capacity/commands.ts";

const [command, ...rest] = Deno.args;
switch (command) {
  case "calibrate":
    await runCalibrate(rest);
    break;
  case "simulate":
    await runSimulate(rest);
    break;
  case "validate":
    await runValidate(rest);
    break;
  case "size":
    await runSize(rest);
    break;
  default:
    console.error(`capacity: calibrate, validate, simulate or size, not "${command ?? ""}"`);
    Deno.exit(2);
}
