"""An HTTP service in Python that latchkey protects: WSGI middleware asks VerifyKey about each request's API key."""

import json
import logging
import math
import os
import socketserver
from http import HTTPStatus
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import grpc
from latchkey.v1 import key_service_pb2, key_service_pb2_grpc, limits_pb2

DEADLINE_S = 1


class Refused(Exception):
    """A request that is not served: its HTTP status, a code, and the seconds until a retry may succeed."""

    def __init__(self, status, code, retry_after=None):
        super().__init__(code)
        self.status, self.code = status, code
        self.headers = [] if retry_after is None else [("Retry-After", str(retry_after))]


class Latchkey:
    """The calls to latchkey. An error of latchkey is no verdict, so the caller hears 503 and nothing about their key."""

    def __init__(self, address, credential):
        # Notices within 13 s that a connection is dead. keepalive_timeout_ms would not: gRPC core waits a minute.
        options = [("grpc.keepalive_time_ms", 10_000), ("grpc.http2.ping_timeout_ms", 3_000)]
        # On loopback. Across a network use grpc.secure_channel.
        channel = grpc.insecure_channel(address.removeprefix("http://"), options)
        self._keys = key_service_pb2_grpc.KeyServiceStub(channel)
        self._metadata = [("authorization", f"Bearer {credential}")]

    def verify(self, request):
        """Returns the key. Raises Refused if it is not VALID; a verdict that this program does not know is refused."""
        answer = self._ask(self._keys.VerifyKey, request)
        if not answer.valid:
            code = key_service_pb2.Verdict.Name(answer.verdict).removeprefix("VERDICT_")
            statuses = {"INVALID": 401, "DISABLED": 401, "REVOKED": 401, "EXPIRED": 401, "RATE_LIMITED": 429}
            raise Refused(statuses.get(code, 403), code, seconds(answer.retry_after) if code == "RATE_LIMITED" else None)
        return answer.key

    def count(self, subject, limit):
        """Counts a call of any subject. Raises Refused if a limit is reached."""
        answer = self._ask(self._keys.CheckRateLimit, key_service_pb2.CheckRateLimitRequest(name=subject, limits=[limit]))
        if not answer.allowed:
            raise Refused(429, "RATE_LIMITED", seconds(answer.retry_after))

    def _ask(self, method, request):
        try:
            return method(request, timeout=DEADLINE_S, metadata=self._metadata)
        except grpc.RpcError as error:
            logging.error("no verdict: %s", error)
            raise Refused(503, "UNAVAILABLE") from error


class RequireApiKey:
    """WSGI middleware. The key that a request was made with stands in `environ["latchkey.key"]`."""

    def __init__(self, app, latchkey, tiers=(), scopes=()):
        self._app, self._latchkey, self._tiers, self._scopes = app, latchkey, tiers, scopes

    def __call__(self, environ, start_response):
        api_key = environ.get("HTTP_X_API_KEY")
        if api_key is None:
            raise Refused(401, "CREDENTIAL_MISSING")
        environ["latchkey.key"] = self._latchkey.verify(
            key_service_pb2.VerifyKeyRequest(
                api_key=api_key,
                allowed_tiers=self._tiers,
                required_scopes=self._scopes,
                client_ip=environ["REMOTE_ADDR"],
                method=f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}",
            )
        )
        return self._app(environ, start_response)


def seconds(duration):
    return max(1, math.ceil(duration.ToMilliseconds() / 1000))


def answer_json(start_response, status, body, headers=()):
    start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "application/json"), *headers])
    return [json.dumps(body).encode()]


latchkey = Latchkey(
    os.environ.get("LATCHKEY_ADDRESS", "http://127.0.0.1:8080"), os.environ.get("LATCHKEY_CREDENTIAL", "")
)


def orders(environ, start_response):
    return answer_json(start_response, 200, {"orders": [], "key": environ["latchkey.key"].id})


def news(environ, start_response):
    # Every caller, at most five times a minute.
    latchkey.count(environ["REMOTE_ADDR"], limits_pb2.NamedLimit(name="news", per_minute=5))
    return answer_json(start_response, 200, {"news": []})


ROUTES = {
    "/orders": RequireApiKey(orders, latchkey, tiers=["pro", "enterprise"], scopes=["orders:read"]),
    "/news": news,
}


def app(environ, start_response):
    try:
        route = ROUTES.get(environ["PATH_INFO"])
        return route(environ, start_response) if route else answer_json(start_response, 404, {"code": "NOT_FOUND"})
    except Refused as refused:
        return answer_json(start_response, refused.status, {"code": refused.code}, refused.headers)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "3000"))
    with make_server("127.0.0.1", port, app, Server, WSGIRequestHandler) as server:
        print("listening on", server.server_address, flush=True)
        server.serve_forever()
