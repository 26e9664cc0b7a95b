// Runs a benchmark as a user would, in a process of its own.

const root = decodeURIComponent(new URL("../../", import.meta.url).pathname);

export async function runDeno(
  ...args: readonly (readonly string[])[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--no-check", ...args.flat()],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
