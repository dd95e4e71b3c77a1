/** Waits until `work` settles, but at most `ms`. For work whose result the caller does not need. Never rejects. */
export async function settleWithin(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: isOver, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work.catch(() => {}), isOver]);
  clearTimeout(timer);
}
