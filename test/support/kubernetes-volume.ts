import { copyFileSync, mkdirSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { CertificateFiles } from "./self-signed.ts";

/** A certificate as Kubernetes mounts a secret: `..data` is a symbolic link to the folder of the current version. */
export interface CertificateVolume {
  /** Paths that lead through the link. */
  readonly files: CertificateFiles;
  /** Mounts the second version in one step. */
  replace(): void;
}

/** @param versions both are copied into `folder` as `..1` and `..2`, and the first one is mounted */
export function mountVersions(
  folder: string,
  versions: readonly [first: CertificateFiles, second: CertificateFiles],
): CertificateVolume {
  for (const [at, { certFile, keyFile }] of versions.entries()) {
    const version = join(folder, `..${at + 1}`);
    mkdirSync(version);
    copyFileSync(certFile, join(version, "tls.crt"));
    copyFileSync(keyFile, join(version, "tls.key"));
  }
  symlinkSync("..1", join(folder, "..data"));
  return {
    files: { certFile: join(folder, "..data/tls.crt"), keyFile: join(folder, "..data/tls.key") },
    replace() {
      symlinkSync("..2", join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    },
  };
}
