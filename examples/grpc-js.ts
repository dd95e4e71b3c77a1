/** A service of @grpc/grpc-js that latchkey protects. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type handleUnaryCall, Server, ServerCredentials } from "@grpc/grpc-js";
import { createLatchkey } from "@latchkey/client";
import { latchkeyOf, requireApiKey } from "@latchkey/client/grpc";
import {
  type ListOrdersRequest,
  ListOrdersRequestSchema,
  type ListOrdersResponse,
  ListOrdersResponseSchema,
} from "./gen/shop/v1/orders_pb.ts";

const latchkey = createLatchkey({
  baseUrl: process.env.LATCHKEY_ADDRESS ?? "http://127.0.0.1:8080",
  credential: process.env.LATCHKEY_CREDENTIAL ?? "",
});
await latchkey.ready();

const listOrders: handleUnaryCall<ListOrdersRequest, ListOrdersResponse> = (call, callback) => {
  callback(null, create(ListOrdersResponseSchema, { orders: [], keyId: latchkeyOf(call)?.key?.id ?? "" }));
};

const server = new Server({
  interceptors: [requireApiKey(latchkey, { tiers: ["pro", "enterprise"], scopes: ["orders:read"] })],
});
server.addService(
  {
    listOrders: {
      path: "/shop.v1.Orders/ListOrders",
      requestStream: false,
      responseStream: false,
      requestSerialize: (request: ListOrdersRequest) => Buffer.from(toBinary(ListOrdersRequestSchema, request)),
      requestDeserialize: (bytes: Buffer) => fromBinary(ListOrdersRequestSchema, bytes),
      responseSerialize: (response: ListOrdersResponse) => Buffer.from(toBinary(ListOrdersResponseSchema, response)),
      responseDeserialize: (bytes: Buffer) => fromBinary(ListOrdersResponseSchema, bytes),
    },
  },
  { listOrders },
);
server.bindAsync(`127.0.0.1:${process.env.PORT ?? 3000}`, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log("listening on", { port });
});
