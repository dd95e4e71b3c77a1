/** Waits for something to settle, but no longer than this: where it is better to go on without it. Never rejects. */
export async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: isOver, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work.catch(() => {}), isOver]);
  clearTimeout(timer);
}
