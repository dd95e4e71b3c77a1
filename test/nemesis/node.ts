/** One process of the service in a run: its address, its links to the servers, its clients and its restarts. */
import type { Client } from "@connectrpc/connect";
import { AdminService } from "../../src/gen/latchkey/v1/admin_service_pb.ts";
import { AuthService } from "../../src/gen/latchkey/v1/auth_service_pb.ts";
import { KeyService } from "../../src/gen/latchkey/v1/key_service_pb.ts";
import { clientOf } from "../support/clients.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { type SpawnedService, spawnService } from "../support/spawned-service.ts";
import { nowMs, type StartRecord } from "./history.ts";

export interface NodeOptions {
  readonly index: number;
  readonly port: number;
  readonly opsPort: number;
  readonly env: NodeJS.ProcessEnv;
  readonly nodeFlags: readonly string[];
  readonly postgres: FaultProxy;
  readonly redis: FaultProxy;
}

/** An unexpected end of a process. */
export interface Crash {
  /** NEAR_PROCESS for that of the near clients. */
  readonly process: number;
  readonly atMs: number;
  readonly output: string;
}

/** Maximum time from SIGTERM to the end of a process: the sum of all waits of its parts. */
const MOST_STOP_MS = 30_000;

/** A process whose start gave up is started again after this time. */
const RESTART_MS = 1000;

export class Node {
  readonly index: number;
  readonly port: number;
  readonly address: string;
  /** `host:port` of the second port. */
  readonly opsAddress: string;
  readonly starts: StartRecord[] = [];
  readonly postgres: FaultProxy;
  readonly redis: FaultProxy;
  readonly crashes: Crash[] = [];
  readonly #options: NodeOptions;
  #service: SpawnedService | undefined;
  #isEndExpected = false;
  #output = "";

  constructor(options: NodeOptions) {
    this.#options = options;
    this.index = options.index;
    this.port = options.port;
    this.address = `127.0.0.1:${options.port}`;
    this.opsAddress = `127.0.0.1:${options.opsPort}`;
    this.postgres = options.postgres;
    this.redis = options.redis;
  }

  /** The output of all runs of this process. */
  get output(): string {
    return `${this.#output}${this.#service?.output() ?? ""}`;
  }

  keys(credential: string): Client<typeof KeyService> {
    return clientOf(this.address, KeyService, credential);
  }

  people(credential?: string): Client<typeof AuthService> {
    return clientOf(this.address, AuthService, credential);
  }

  administration(credential: string): Client<typeof AdminService> {
    return clientOf(this.address, AdminService, credential);
  }

  /** Starts the process without a wait for readiness, which a stopped database may prevent. */
  start(): void {
    this.#isEndExpected = false;
    const service = spawnService(this.#options.env, this.#options.nodeFlags);
    const start: StartRecord = { process: this.index, startedMs: nowMs() };
    this.starts.push(start);
    const isReady = () => {
      start.readyMs = nowMs();
    };
    service.ready().then(isReady, isReady);
    this.#service = service;
    void service.ended().then((code) => {
      this.#output += `${service.output()}\n--- process ${this.index} ended with ${code}\n`;
      if (this.#service === service) this.#service = undefined;
      if (this.#isEndExpected) return;
      if (isRefusedStart(service)) return void setTimeout(() => this.#startAgain(), RESTART_MS).unref();
      this.crashes.push({ process: this.index, atMs: nowMs(), output: service.output() });
    });
  }

  /** As a supervisor does, unless a fault has ended or started it meanwhile. */
  #startAgain(): void {
    if (this.#service === undefined && !this.#isEndExpected) this.start();
  }

  /** Starts it unless it runs, and resolves once it is ready. @throws Error with its output if it ends before */
  async ready(): Promise<void> {
    if (this.#service === undefined) this.start();
    this.signal("SIGCONT");
    await this.#service!.ready();
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#service?.signal(signal);
  }

  async kill(): Promise<void> {
    this.#isEndExpected = true;
    const service = this.#service;
    if (service === undefined) return;
    service.signal("SIGKILL");
    await service.ended();
  }

  /** Sends SIGTERM. If the process does not end in MOST_STOP_MS, it is killed, and that counts as a crash. */
  async stop(): Promise<void> {
    const service = this.#service;
    if (service === undefined) return;
    this.#isEndExpected = true;
    this.signal("SIGCONT");
    const late = setTimeout(() => {
      this.crashes.push({ process: this.index, atMs: nowMs(), output: `${MOST_STOP_MS} ms after SIGTERM it ran on` });
      service.signal("SIGKILL");
    }, MOST_STOP_MS);
    await service.stop();
    clearTimeout(late);
  }
}

/** Whether a start gave up. A fault may keep the database from it, so that is correct and no crash. */
function isRefusedStart(service: SpawnedService): boolean {
  return !service.output().includes("latchkey is ready");
}
