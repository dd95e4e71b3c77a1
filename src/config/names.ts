/**
 * Names in the environment that begin with LATCHKEY_: settings, variables of the clients, and service links. Kubernetes
 * and Docker set service links for a service called `latchkey` or `latchkey-redis` in every container next to it.
 */
import { isIP } from "node:net";
import { SETTINGS } from "./settings.ts";

/** Variables of the clients of this service. A host may set them for all its processes, so the start ignores them. */
export const CLIENT_VARIABLES = ["LATCHKEY_ADDRESS", "LATCHKEY_CREDENTIAL", "LATCHKEY_CREDENTIAL_FILE"] as const;

const OURS = /^latchkey_/i;
/** Maximum edit distance between a misspelt name and the setting that is suggested instead. */
const MAX_SLIPS = 3;

interface LinkShape {
  readonly name: RegExp;
  readonly isValue: (value: string) => boolean;
}

/**
 * The shapes of service links: name and value. Both must fit, because LATCHKEY_PORT=8080 is a mistake, while
 * LATCHKEY_PORT=tcp://10.0.0.1:8080 is a link. Kubernetes sets the first six shapes (pkg/kubelet/envvars). Docker sets
 * four of these, `_START`, `_END` and the last shape.
 */
const LINK_SHAPES: readonly LinkShape[] = [
  { name: /_SERVICE_HOST$/, isValue: (value) => isIP(value) !== 0 },
  { name: /_SERVICE_PORT(_[A-Z0-9_]+)?$/, isValue: isPort },
  { name: /_PORT(_\d{1,5}_(TCP|UDP|SCTP)(_START|_END)?)?$/, isValue: isLinkUrl },
  { name: /_PORT_\d{1,5}_(TCP|UDP|SCTP)_ADDR$/, isValue: (value) => isIP(value) !== 0 },
  { name: /_PORT_\d{1,5}_(TCP|UDP|SCTP)_PORT(_START|_END)?$/, isValue: isPort },
  { name: /_PORT_\d{1,5}_(TCP|UDP|SCTP)_PROTO$/, isValue: (value) => /^(tcp|udp|sctp)$/.test(value) },
  { name: /_NAME$/, isValue: isLinkName },
];
/**
 * Part of the names of Docker's copies of the other container's environment. A copy has any name and value, so only the
 * variable `_NAME` of the same link proves it.
 */
const COPIED = "_ENV_";

/** The names in an environment that look like settings but are none. */
export interface OtherNames {
  /** Service links, which are ignored. */
  readonly links: readonly string[];
  /** One line for each unknown name. */
  readonly faults: readonly string[];
}

/** Judges each name of the environment that is neither a setting nor a variable of the clients. Pure. */
export function judgeNames(env: Readonly<Record<string, string | undefined>>): OtherNames {
  const settings = Object.values(SETTINGS).map((row): string => row.name);
  const known = new Set([...settings, ...CLIENT_VARIABLES]);
  const names = Object.keys(env).filter((name) => OURS.test(name) && !known.has(name));
  const links = names.filter((name) => isLink(name, env));
  const faults = names.filter((name) => !links.includes(name)).map((name) => faultOf(name, settings));
  return { links, faults };
}

/** Whether a name has the shape of a service link. No setting may have one, because a Service could overwrite it. */
export function hasLinkName(name: string): boolean {
  return name.includes(COPIED) || LINK_SHAPES.some((shape) => shape.name.test(name));
}

function isLink(name: string, env: Readonly<Record<string, string | undefined>>): boolean {
  if (!/^LATCHKEY_[\w.-]+$/.test(name)) return false;
  const value = env[name] ?? "";
  if (LINK_SHAPES.some((shape) => shape.name.test(name) && shape.isValue(value))) return true;
  const parts = name.split(COPIED);
  const aliases = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join(COPIED));
  return aliases.some((alias) => isLinkName(env[`${alias}_NAME`] ?? ""));
}

/** `tcp://10.0.0.1:8080`, IPv6 in brackets. */
function isLinkUrl(value: string): boolean {
  const [, six, four, port = ""] = /^(?:tcp|udp|sctp):\/\/(?:\[([0-9a-fA-F:.]+)\]|([\d.]+)):(\d+)$/.exec(value) ?? [];
  return (isIP(six ?? "") === 6 || isIP(four ?? "") === 4) && isPort(port);
}

function isPort(value: string): boolean {
  return /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535;
}

/** The value of Docker's `_NAME`: the two ends of the link, such as `/web/redis`. */
function isLinkName(value: string): boolean {
  return /^\/[\w.-]+\/[\w.-]+$/.test(value);
}

function faultOf(name: string, settings: readonly string[]): string {
  const near = settings.map((setting) => ({ setting, slips: slipsBetween(name.toUpperCase(), setting) }));
  const best = near.reduce((one, other) => (other.slips < one.slips ? other : one));
  const suggestion = best.slips <= MAX_SLIPS ? `did you mean ${best.setting}?` : "see docs/CONFIG.md";
  return `${name}: no such setting; ${suggestion}`;
}

/** The Levenshtein distance: the number of letters to insert, delete or replace. */
function slipsBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...one].entries()) {
    const above = row;
    row = [line + 1];
    for (const [column, wanted] of [...other].entries()) {
      row.push(Math.min(above[column]! + (letter === wanted ? 0 : 1), above[column + 1]! + 1, row[column]! + 1));
    }
  }
  return row[other.length]!;
}
