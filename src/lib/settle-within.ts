/** Waits until a promise settles, but at most `ms`; for work that the caller can go on without. Never rejects. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: isOver, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work.catch(() => {}), isOver]);
  clearTimeout(timer);
}
