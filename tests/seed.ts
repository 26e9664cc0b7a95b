// Loaded before every test file (`deno task test`): what tests draw at random is the same in every run, so that the same
// tree passes or fails in the same way. RADISH_TEST_SEED=N draws others: for finding what was not thought of.

import fc from "fast-check";

fc.configureGlobal({ seed: Number(Deno.env.get("RADISH_TEST_SEED") ?? 1) });
