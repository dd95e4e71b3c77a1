/** A date that can't be set, because all verdicts about one key share it. */
export class FixedDate extends Date {}

for (const name of Object.getOwnPropertyNames(Date.prototype)) {
  if (!name.startsWith("set")) continue;
  Object.defineProperty(FixedDate.prototype, name, {
    value: () => {
      throw new TypeError("a date of a verdict is frozen: copy it by new Date(date)");
    },
  });
}
