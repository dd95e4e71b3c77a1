/** Envoy's own JSON transcoder in front of the service: an implementation of google.api.http that is not ours. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { freePort, privateFolder } from "../support/child-process.ts";
import { startEnvoyProcess } from "./envoy-process.ts";

/** The names that a request without an RPC must not reach: Envoy passes no such request on. */
const SERVICES = ["AuthService", "KeyService", "AdminService"].map((name) => `latchkey.v1.${name}`);

/** Starts Envoy. @returns the port of its listener. @throws Error with the end of its log */
export async function startTranscoder(upstreamPort: number): Promise<AsyncDisposable & { readonly port: number }> {
  const folder = privateFolder("latchkey-transcoder-");
  const port = await freePort();
  const descriptors = join(folder, "contract.binpb");
  const { status, stderr } = spawnSync("buf", ["build", "--as-file-descriptor-set", "--output", descriptors], {
    cwd: join(import.meta.dirname, "../.."),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`buf build: ${stderr}`);
  const settings = JSON.stringify(configuration(port, upstreamPort, descriptors));
  const running = await startEnvoyProcess({ folder, configuration: settings, port });
  return { port, [Symbol.asyncDispose]: () => running.kill() };
}

function configuration(port: number, upstreamPort: number, proto_descriptor: string) {
  const typed = (type: string, settings: object = {}) => ({
    "@type": `type.googleapis.com/envoy.extensions.${type}`,
    ...settings,
  });
  const socket = (port_value: number) => ({ address: { socket_address: { address: "127.0.0.1", port_value } } });
  const transcoder = typed("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder", {
    proto_descriptor,
    services: SERVICES,
    print_options: { always_print_primitive_fields: true },
    request_validation_options: {
      reject_unknown_method: true,
      reject_unknown_query_parameters: true,
      reject_binding_body_field_collisions: true,
    },
    convert_grpc_status: true,
  });
  const manager = typed("filters.network.http_connection_manager.v3.HttpConnectionManager", {
    stat_prefix: "outside",
    route_config: {
      virtual_hosts: [
        { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "latchkey" } }] },
      ],
    },
    http_filters: [
      { name: "transcoder", typed_config: transcoder },
      { name: "router", typed_config: typed("filters.http.router.v3.Router") },
    ],
  });
  const http2 = { explicit_http_config: { http2_protocol_options: {} } };
  const cluster = {
    name: "latchkey",
    load_assignment: {
      cluster_name: "latchkey",
      endpoints: [{ lb_endpoints: [{ endpoint: socket(upstreamPort) }] }],
    },
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("upstreams.http.v3.HttpProtocolOptions", http2),
    },
  };
  const listener = {
    name: "outside",
    ...socket(port),
    filter_chains: [{ filters: [{ name: "manager", typed_config: manager }] }],
  };
  return { static_resources: { listeners: [listener], clusters: [cluster] } };
}
