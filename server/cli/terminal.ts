// What the terminal can do.

/** Whether escape sequences and bars make sense on standard error; TERM=dumb says that they do not. */
export function drawsBars(): boolean {
  return Deno.stderr.isTerminal() && Deno.env.get("TERM") !== "dumb";
}

/** Columns of the terminal, asked anew because it may have been resized; 80 where there is none. */
export function columns(): number {
  try {
    return Deno.consoleSize().columns || 80;
  } catch {
    return 80;
  }
}

/** The terminal's size; 80 × 24 where there is none. */
export function windowSize(): { readonly columns: number; readonly rows: number } {
  try {
    const { columns, rows } = Deno.consoleSize();
    return { columns: columns || 80, rows: rows || 24 };
  } catch {
    return { columns: 80, rows: 24 };
  }
}

/** Columns for help: lines longer than this are hard to read. */
export function helpWidth(): number {
  return Deno.stdout.isTerminal() ? Math.max(40, Math.min(columns(), 120)) : 80;
}
