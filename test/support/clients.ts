/** Clients of a running service. This file needs no test runner. */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

/** The password of people in tests. */
export const PASSWORD = "ochre lantern waltz paper";

/** A gRPC client; many calls of one client share a connection. */
export function clientOf<S extends DescService>(address: string, service: S, credential?: string): Client<S> {
  const authorize: Interceptor = (next) => (request) => {
    if (credential !== undefined) request.header.set("authorization", `Bearer ${credential}`);
    return next(request);
  };
  return createClient(service, createGrpcTransport({ baseUrl: `http://${address}`, interceptors: [authorize] }));
}
