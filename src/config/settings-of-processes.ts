import { proxyNetwork } from "./networks.ts";
import { setting } from "./setting.ts";
import { address, bool, integer, list, masterKeys, oneOf, origin, seconds, text } from "./values.ts";

export const PROCESSES = {
  production: setting(
    "NODE_ENV",
    "development",
    (value) => oneOf("development", "test", "production")(value) === "production",
    "`production` refuses every insecure default, where `development` only warns. `test` is the same as `development`. Other words are refused.",
  ),
  logLevel: setting(
    "LATCHKEY_LOG_LEVEL",
    "info",
    oneOf("debug", "info", "warn", "error", "silent"),
    "The lowest level of log lines that are written.",
  ),
  logFormat: setting(
    "LATCHKEY_LOG_FORMAT",
    undefined,
    oneOf("json", "text"),
    "The format of log lines. Without it: `text` in development, `json` in production.",
  ),
  dataDir: setting(
    "LATCHKEY_DATA_DIR",
    "./data",
    text,
    "The folder of the embedded database and of the secrets of a development service.",
  ),
  workers: setting(
    "LATCHKEY_WORKERS",
    "1",
    integer(1, 256),
    "Number of processes on this machine that share the port.",
  ),
  replicas: setting(
    "LATCHKEY_REPLICAS",
    "1",
    integer(1, 10_000),
    "Number of machines that run the service. While Redis is unreachable, each limit is divided by it.",
  ),
  drainMs: setting(
    "LATCHKEY_DRAIN_SECONDS",
    "10",
    seconds(0, 300),
    "The time that calls in flight have to finish after SIGTERM.",
  ),
} as const;

export const PORTS = {
  listen: setting(
    "LATCHKEY_LISTEN",
    "127.0.0.1:8080",
    address,
    "Address of the service: gRPC, gRPC-Web and Connect. Port 0 takes a free one.",
  ),
  opsListen: setting(
    "LATCHKEY_OPS_LISTEN",
    "127.0.0.1:9464",
    address,
    "Address for operators: `/healthz` and `/metrics`. Port 0 takes a free one.",
  ),
  tlsCertFile: setting(
    "LATCHKEY_TLS_CERT_FILE",
    undefined,
    text,
    "PEM file with the certificate chain. With it and the key file the port speaks TLS too. The service reads both files again when they change, and at SIGHUP.",
  ),
  tlsKeyFile: setting("LATCHKEY_TLS_KEY_FILE", undefined, text, "PEM file with the certificate's private key."),
  tlsClientCaFile: setting(
    "LATCHKEY_TLS_CLIENT_CA_FILE",
    undefined,
    text,
    "PEM file with the certificate authorities of clients. With it clients may show a certificate, which stands for the service credential that has one of its names. Clients without one use a bearer credential as before. Needs the certificate and key file. The service reads the file again when it changes, and at SIGHUP.",
  ),
  allowPlaintext: setting(
    "LATCHKEY_ALLOW_PLAINTEXT",
    "false",
    bool,
    "In production: speak plaintext on an address that is not loopback, because a proxy in front ends TLS, or in addition to TLS. In development the port always speaks plaintext.",
  ),
  reflection: setting(
    "LATCHKEY_REFLECTION",
    "true",
    bool,
    "Serve gRPC reflection, so that grpcurl needs no .proto files.",
  ),
  docsPage: setting(
    "LATCHKEY_DOCS_PAGE",
    undefined,
    bool,
    "Serve `/docs`, a page that shows `/openapi.json` and can send requests. Without it: `true` in development, `false` in production.",
  ),
  corsOrigins: setting(
    "LATCHKEY_CORS_ORIGINS",
    "",
    list(origin),
    "Origins (comma-separated) whose browsers may call. Empty: no CORS.",
  ),
  trustedProxies: setting(
    "LATCHKEY_TRUSTED_PROXIES",
    "",
    list(proxyNetwork),
    "Networks (CIDR, comma-separated) of the proxies whose headers may name the client's address. Empty: none. In production they must not cover every address.",
  ),
  forwardedHeader: setting(
    "LATCHKEY_FORWARDED_HEADER",
    undefined,
    oneOf("x-forwarded-for", "forwarded"),
    "The only header in which trusted proxies may name the client's address; `forwarded` is the header of RFC 7239. Without it the service reads either header, and neither if both are present and disagree.",
  ),
} as const;

export const SECRETS = {
  masterKeys: setting(
    "LATCHKEY_MASTER_KEYS",
    undefined,
    masterKeys,
    "The master secrets: `version:base64` with at least 32 bytes each, comma-separated. The first one protects new data, all of them verify, and newer ones have higher versions. A development service makes one in its data folder.",
  ),
} as const;
