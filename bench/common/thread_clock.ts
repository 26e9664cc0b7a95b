// CPU time of a thread, the calling one or another program's first: other work on the machine, and V8's helper threads, do not count; collections of the
// heap that stop the thread do. Where the system's clock cannot be reached, the process's CPU time.

import process from "node:process";

const THREAD_CPUTIME = 3; // Linux's CLOCK_THREAD_CPUTIME_ID

/** Reads milliseconds. */
export function threadClock(): () => number {
  if (Deno.build.os === "linux") {
    const { symbols } = Deno.dlopen("libc.so.6", {
      clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
    });
    const time = new BigInt64Array(2);
    return () => {
      symbols.clock_gettime(THREAD_CPUTIME, time);
      return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
    };
  }
  return () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
}

/** CPU seconds of a process's first thread, in hundredths, where Deno runs the main module; null where no one tells. */
export async function mainThreadSeconds(pid: number): Promise<number | null> {
  const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/stat`).catch(() => null);
  // Behind the name, which may contain anything: the state is field 3, user and system time are 14 and 15.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields === undefined ? null : (Number(fields[11]) + Number(fields[12])) / 100;
}
