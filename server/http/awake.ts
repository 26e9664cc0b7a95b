// Deadlines of clients, in time that this process has lived through. After a suspended machine, a stopped process or
// a long turn of the event loop, timers come before the bytes that have arrived meanwhile: whoever judges at that
// moment blames a client for the server's own absence. So a look that comes late itself decides nothing; what has
// arrived is read before the next one.

import type { Server } from "node:http";

/** A deadline is looked at so many times. */
const looks = 10;
/** A busy event loop is late by as many milliseconds without having been away. */
const busyMs = 100;

function isLate(since: number, period: number): boolean {
  return since > 2 * period + busyMs;
}

/** Calls `expired` when so many milliseconds are over, absences left out. Returns what calls it off. */
export function awakeTimeout(milliseconds: number, expired: () => void): () => void {
  const period = milliseconds / looks;
  let left = looks;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    if (!isLate(now - last, period)) left--;
    last = now;
    if (left > 0) return;
    clearInterval(timer);
    expired();
  }, period);
  return () => clearInterval(timer);
}

/** Makes the server pass over those of its own checks, one every `period` milliseconds, that come late. */
export function checkOnlyAwake(http: Server, period: number): void {
  const { headersTimeout, requestTimeout } = http;
  let last = performance.now();
  let late = false;
  /** A check reads the two more than once. */
  const limit = (milliseconds: number) => {
    const now = performance.now();
    if (now - last > period / 2) {
      late = isLate(now - last, period);
      last = now;
    }
    return late ? 0 : milliseconds;
  };
  Object.defineProperties(http, {
    headersTimeout: { get: () => limit(headersTimeout) },
    requestTimeout: { get: () => limit(requestTimeout) },
  });
}
