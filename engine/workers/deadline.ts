// Waiting for something, but not for ever.

/** The value, or null if it has not come within `milliseconds`; it can then be waited for again. */
export async function withDeadline<T>(value: Promise<T>, milliseconds: number): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), milliseconds));
  try {
    return await Promise.race([value, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
