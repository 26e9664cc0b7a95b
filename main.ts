// radish: picks the subcommand. Each is imported only when it is chosen, so that `--help` is instant.

import { runCommand } from "./server/cli/run.ts";

Deno.exit(await runCommand(Deno.args));
