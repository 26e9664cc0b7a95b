// The scheduler's worker with a recorder in front of it.

import "./recorder.ts";
import "../../engine/scheduler/worker.ts";
