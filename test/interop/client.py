"""A client in Python that a test drives: a command in each line of the standard input, and an answer or an event in
each line of the standard output, as JSON. languages.ts says what the commands and answers are, and judges them.
"""

import functools
import json
import sys
import threading
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from latchkey.v1 import auth_service_pb2, auth_service_pb2_grpc, change_pb2, key_service_pb2, key_service_pb2_grpc

writing = threading.Lock()


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        channel = channel_to(asked["address"], *(asked.get(name) for name in ("caFile", "certFile", "keyFile")))
        if asked["do"] == "watch":
            threading.Thread(target=watch, args=(channel, asked), daemon=True).start()
            continue
        try:
            answer = carry_out(channel, asked)
        except grpc.RpcError as error:
            answer = {"error": fault_of(error)}
        write({**answer, "id": asked["id"]})


def carry_out(channel, asked):
    # Waits for the connection after a restart, at most until the deadline.
    options = {"timeout": asked["deadlineMs"] / 1000, "metadata": metadata_of(asked), "wait_for_ready": True}
    keys = key_service_pb2_grpc.KeyServiceStub(channel)
    match asked["do"]:
        case "verify":
            request = key_service_pb2.VerifyKeyRequest(api_key=asked["key"], cost=asked.get("cost"))
            answer = keys.VerifyKey(request, **options)
            verdict = key_service_pb2.Verdict.Name(answer.verdict)
            return {"valid": answer.valid, "verdict": verdict, "keyId": answer.key.id}
        case "batch":
            requests = [key_service_pb2.VerifyKeyRequest(api_key=key) for key in asked["keys"]]
            requests.append(key_service_pb2.VerifyKeyRequest(api_key=asked["keys"][0], cost=-1))
            answer = keys.BatchVerifyKeys(key_service_pb2.BatchVerifyKeysRequest(requests=requests), **options)
            return {"results": [result_of(result) for result in answer.results]}
        case "login":
            request = auth_service_pb2.LoginRequest(email=asked["email"], password=asked["password"])
            answer = auth_service_pb2_grpc.AuthServiceStub(channel).Login(request, **options)
            return {"userId": answer.user.id}
        case unknown:
            raise ValueError(unknown)


def result_of(result):
    if result.HasField("error"):
        return {"error": details_of(result.error)}
    return {"verdict": key_service_pb2.Verdict.Name(result.response.verdict)}


def watch(channel, asked):
    """Follows the stream of changes for good, from the last cursor after each cut."""
    keys = key_service_pb2_grpc.KeyServiceStub(channel)
    cursor = ""
    while True:
        try:
            request = key_service_pb2.WatchRevocationsRequest(cursor=cursor)
            for message in keys.WatchRevocations(request, metadata=metadata_of(asked), wait_for_ready=True):
                changes = [
                    {"kind": change_pb2.Change.Kind.Name(change.kind), "subjectId": change.subject_id}
                    for change in message.changes
                ]
                # The changes are handled before the cursor is kept, so that none of them can be lost.
                write({"event": "message", "changes": changes, "resync": message.resync})
                cursor = message.cursor or cursor
        except grpc.RpcError as error:
            write({"event": "end", "resumes": cursor != "", "error": fault_of(error)})
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                return


def fault_of(error):
    """Returns an error's code and what its details say. An error that the client itself made has no details."""
    status = rpc_status.from_call(error)
    return {"code": error.code().value[0]} if status is None else details_of(status)


def details_of(status):
    fault = {"code": status.code}
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            fault |= {"reason": info.reason, "domain": info.domain}
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            fault["fields"] = [violation.field for violation in bad.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
            fault["retryDelayMs"] = retry.retry_delay.ToMilliseconds()
    return fault


@functools.cache
def channel_to(address, ca_file, cert_file, key_file):
    """Returns the one channel to an address with a certificate. It pings while no call is open too."""
    options = {
        "grpc.keepalive_time_ms": 10_000,
        # gRPC core waits a minute for the answer to a ping, whatever keepalive_timeout_ms says.
        "grpc.http2.ping_timeout_ms": 1_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
    }
    if cert_file is None:
        return grpc.insecure_channel(address, list(options.items()))
    authorities, certificate, key = (Path(file).read_bytes() for file in (ca_file, cert_file, key_file))
    tls = grpc.ssl_channel_credentials(authorities, key, certificate)
    return grpc.secure_channel(address, tls, list(options.items()))


def metadata_of(asked):
    return [("authorization", f"Bearer {asked['credential']}")] if asked["credential"] else []


def write(line):
    with writing:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
