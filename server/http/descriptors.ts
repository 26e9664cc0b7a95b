// Open files and sockets of this process, where the system tells (Linux).

/** The limit on open files; null where the system does not tell. */
export function descriptorLimit(): number | null {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(Deno.readTextFileSync("/proc/self/limits"));
    return found ? Number(found[1]) : null;
  } catch {
    return null; // not Linux, or not allowed to look
  }
}

/** Those open now; null where the system does not tell. */
export function openDescriptors(): number | null {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch {
    return null;
  }
}
