/**
 * Names in the environment that begin with LATCHKEY_: settings, variables of the clients, and service links, which
 * Kubernetes and Docker set for a service called `latchkey` or `latchkey-redis` in everything that runs beside it.
 */
import { isIP } from "node:net";
import { SETTINGS } from "./settings.ts";

/** Variables that the clients of this service read. A host may have them for all that runs there, so a start lets them be. */
export const CLIENT_VARIABLES = ["LATCHKEY_ADDRESS", "LATCHKEY_CREDENTIAL", "LATCHKEY_CREDENTIAL_FILE"] as const;

const OURS = /^latchkey_/i;
/** How different a misspelt name may be from the setting that is suggested, in single letters. */
const MOST_SLIPS = 3;

interface LinkShape {
  readonly name: RegExp;
  readonly isValue: (value: string) => boolean;
}

/**
 * The name of a link and its value. Both must fit: LATCHKEY_PORT=8080 is a mistake, and a link is tcp://10.0.0.1:8080.
 * Kubernetes sets the shapes of the first six (pkg/kubelet/envvars); Docker sets four of them, `_START`, `_END` and the last.
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
/** Docker's copies of the other container's environment have any name and value: only its `_NAME` beside them tells. */
const COPIED = "_ENV_";

/** What the names in an environment are that begin like ours and are no settings. */
export interface OtherNames {
  /** Service links, which are no settings and are let be. */
  readonly links: readonly string[];
  /** One line for each name that is nothing that is known. */
  readonly faults: readonly string[];
}

/** Judges every name of the environment that is neither a setting nor a client's. Pure. */
export function judgeNames(env: Readonly<Record<string, string | undefined>>): OtherNames {
  const settings = Object.values(SETTINGS).map((row): string => row.name);
  const known = new Set([...settings, ...CLIENT_VARIABLES]);
  const names = Object.keys(env).filter((name) => OURS.test(name) && !known.has(name));
  const links = names.filter((name) => isLink(name, env));
  const faults = names.filter((name) => !links.includes(name)).map((name) => faultOf(name, settings));
  return { links, faults };
}

/** Whether a name has the shape of a service link: no setting may, or a Service of that name would overwrite it. */
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

/** Docker's `_NAME`: `/web/redis`, the two ends of the link. */
function isLinkName(value: string): boolean {
  return /^\/[\w.-]+\/[\w.-]+$/.test(value);
}

function faultOf(name: string, settings: readonly string[]): string {
  const near = settings.map((setting) => ({ setting, slips: slipsBetween(name.toUpperCase(), setting) }));
  const best = near.reduce((one, other) => (other.slips < one.slips ? other : one));
  const suggestion = best.slips <= MOST_SLIPS ? `did you mean ${best.setting}?` : "see docs/CONFIG.md";
  return `${name}: no such setting; ${suggestion}`;
}

/** Levenshtein distance: how many letters have to be put in, left out or replaced. */
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
