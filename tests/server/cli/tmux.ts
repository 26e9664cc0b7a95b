// A program on a terminal of a chosen width: tmux is the terminal, and tells in its control mode when something was
// written to it, so that nothing here waits for time to pass.

const decoder = new TextDecoder();

/** How the program runs. */
export interface TerminalOptions {
  readonly columns: number;
  readonly env?: Record<string, string>;
}

/** A terminal that runs one program; disposing of it ends both. */
export class Terminal implements AsyncDisposable {
  readonly #socket: string;
  readonly #control: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array>;

  #written = "";

  private constructor(socket: string, control: Deno.ChildProcess) {
    this.#socket = socket;
    this.#control = control;
    this.#lines = control.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream()).getReader();
    this.#commands = control.stdin.getWriter();
  }

  /** Starts a program with its arguments. When it has ended the screen says "rc" and the exit code. */
  static async start(command: readonly string[], { columns, env = {} }: TerminalOptions): Promise<Terminal> {
    const socket = `radish-${crypto.randomUUID()}`;
    const words = [...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...command];
    const script = `env ${
      words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")
    }; echo rc $?; read _`;
    await tmux(socket, "-f", "/dev/null", "new-session", "-d", "-x", String(columns), "-y", "30", script);
    const control = new Deno.Command("tmux", {
      args: ["-L", socket, "-C", "attach"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const terminal = new Terminal(socket, control);
    await terminal.#command(`resize-window -x ${columns} -y 30`);
    return terminal;
  }

  /** All that was written to it since it can be seen, control characters as tmux spells them ("\\033" for ESC). */
  get written(): string {
    return this.#written;
  }

  /** The screen, once it shows this. */
  async see(pattern: RegExp): Promise<string> {
    while (true) {
      const screen = await this.#command("capture-pane -p");
      if (pattern.test(screen)) return screen;
      for (let line = ""; !line.startsWith("%output");) {
        line = await this.#line(`the program ended before ${pattern} was seen:\n${screen}`);
      }
    }
  }

  /** The screen, and what has scrolled out of it. */
  whole(): Promise<string> {
    return this.#command("capture-pane -p -S -");
  }

  /** Types keys as tmux names them. */
  async type(...keys: string[]): Promise<void> {
    await tmux(this.#socket, "send-keys", ...keys);
  }

  /** Pastes as a user does; `marked` as terminals do that know about bracketed paste. */
  async paste(text: string, marked: boolean): Promise<void> {
    await tmux(this.#socket, "set-buffer", text);
    await tmux(this.#socket, "paste-buffer", ...(marked ? ["-p"] : []));
  }

  async #line(otherwise: string): Promise<string> {
    const { done, value } = await this.#lines.read();
    if (done) throw new Error(otherwise);
    if (value.startsWith("%output")) this.#written += value;
    return value;
  }

  async #command(text: string): Promise<string> {
    await this.#commands.write(new TextEncoder().encode(`${text}\n`));
    const answer: string[] = [];
    // The first answers are those to attaching: only ours comes while we wait for it.
    for (let within = false;;) {
      const value = await this.#line(`tmux has ended at ${text}`);
      if (value.startsWith("%error")) throw new Error(`tmux: ${text}: ${answer.join("\n")}`);
      if (value.startsWith("%begin") && value.endsWith(" 1")) within = true;
      else if (within && value.startsWith("%end")) return answer.join("\n").trimEnd();
      else if (within) answer.push(value);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await tmux(this.#socket, "kill-server");
    await this.#commands.close().catch(() => {});
    while (!(await this.#lines.read()).done);
    await this.#control.status;
  }
}

async function tmux(socket: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("tmux", { args: ["-L", socket, ...args] }).output();
  if (!success) throw new Error(`tmux ${args.join(" ")}: ${decoder.decode(stderr)}`);
}

function lineStream(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(chunk, controller) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) controller.enqueue(line);
    },
  });
}
