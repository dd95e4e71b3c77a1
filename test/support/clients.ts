/** Clients of a running service. This file needs no test runner. */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Http2Sessions } from "../../client/src/http2-sessions.ts";
import { createRestTransport } from "./rest-transport.ts";

/** The password of people in tests. */
export const PASSWORD = "ochre lantern waltz paper";

/** A gRPC client; many calls of one client share a connection. */
export function clientOf<S extends DescService>(address: string, service: S, credential?: string): Client<S> {
  return createClient(service, grpcTransport(address, authorize(credential)));
}

/** A client that makes unary calls by REST, and by gRPC what REST can't say: see `createRestTransport`. */
export function restClientOf<S extends DescService>(address: string, service: S, credential?: string): Client<S> {
  const interceptors = authorize(credential);
  const other = grpcTransport(address, interceptors);
  return createClient(service, createRestTransport(address, { interceptors, other }));
}

/** With connect-node's own sessions, a GOAWAY between two calls can end in an uncaught error: see Http2Sessions. */
function grpcTransport(address: string, interceptors: Interceptor[]): Transport {
  const baseUrl = `http://${address}`;
  return createGrpcTransport({ baseUrl, interceptors, sessionManager: new Http2Sessions(baseUrl) });
}

function authorize(credential: string | undefined): Interceptor[] {
  if (credential === undefined) return [];
  return [
    (next) => (request) => {
      request.header.set("authorization", `Bearer ${credential}`);
      return next(request);
    },
  ];
}
