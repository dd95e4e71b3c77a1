/** The exit code of each kind of end. Scripts decide by them, so a number never changes its meaning. */
export const EXIT = {
  OK: 0,
  /** A refused key or call, or an error of another kind. */
  FAILED: 1,
  /** The command line is wrong, or the service answered INVALID_ARGUMENT. */
  USAGE: 2,
  /** The service, or the data behind it, did not answer in time. */
  UNREACHABLE: 3,
  /** There is no credential, or the service refused it. */
  DENIED: 4,
  NOT_FOUND: 5,
  /** Ended by SIGINT, as shells count signals. */
  INTERRUPTED: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
