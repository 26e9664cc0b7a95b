// Python as a judge: its packages are the reference for templates, tokenizers and models. $RADISH_PYTHON names it, or it
// is the python3 on the PATH.

const command = Deno.env.get("RADISH_PYTHON") ?? "python3";

/** Whether there is a Python with these packages. */
export async function hasPython(...packages: readonly string[]): Promise<boolean> {
  try {
    const found = packages.map((name) => `find_spec("${name}")`).join(" and ");
    const code = `import sys; from importlib.util import find_spec; sys.exit(not (${found}))`;
    const { success } = await new Deno.Command(command, {
      args: ["-c", code],
      stdout: "null",
      stderr: "null",
    })
      .output();
    return success;
  } catch {
    return false; // no such program
  }
}

/** Runs a script: JSON in, JSON out (null where it prints nothing). */
export async function python<T>(script: URL, input: unknown, ...args: readonly string[]): Promise<T> {
  const child = new Deno.Command(command, {
    args: [script.pathname, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(new TextEncoder().encode(JSON.stringify(input))).then(() => writer.close());
  const { success, stdout, stderr } = await child.output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).slice(-2000));
  await written;
  return JSON.parse(new TextDecoder().decode(stdout) || "null");
}
