/**
 * The floor: a unary gRPC call straight from node:http2. The server reads the whole message and answers the verdict of
 * a good key, with nothing in between. `node bare.ts PORT`
 */
import { createServer, type ServerHttp2Stream } from "node:http2";

/** VerifyKeyResponse { valid: true, verdict: VERDICT_VALID } in its frame. */
const ANSWER = Buffer.from([0, 0, 0, 0, 4, 0x08, 1, 0x10, 1]);

const server = createServer();
server.on("stream", (stream: ServerHttp2Stream) => {
  const chunks: Buffer[] = [];
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("end", () => {
    Buffer.concat(chunks);
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(ANSWER);
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1");
