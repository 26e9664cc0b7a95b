// CPU time of the calling thread: other work on the machine, and V8's helper threads, do not count; collections of the
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
