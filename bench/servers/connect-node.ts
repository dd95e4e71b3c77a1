/** VerifyKey as a no-op on stock connect-node. `node connect-node.ts PORT` */
import { createServer } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { KeyService, Verdict } from "../../src/gen/latchkey/v1/key_service_pb.ts";

const adapter = connectNodeAdapter({
  routes: (router) => router.service(KeyService, { verifyKey: () => ({ valid: true, verdict: Verdict.VALID }) }),
});
createServer(adapter).listen(Number(process.argv[2]), "127.0.0.1");
