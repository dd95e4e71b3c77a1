"""A client in another language: stubs generated from proto/, no reflection.

Usage: python-client-smoke.py ADDRESS CREDENTIAL_FILE

Checks health, registers a user, issues a key and verifies it with the service
credential of the file. Exits with a message if an answer is not as documented.
Needs grpcio and grpcio-tools.
"""

import pathlib
import secrets
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parent.parent


def generate(folder: str) -> None:
    """Generates Python code for every .proto file, and makes it importable."""
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    sources = [ROOT / "proto", ROOT / "third_party"]
    files = [str(path) for source in sources for path in source.rglob("*.proto")]
    includes = [f"-I{path}" for path in [*sources, well_known]]
    failed = protoc.main(["protoc", *includes, f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
    if failed:
        sys.exit("protoc refused the .proto files")
    sys.path.insert(0, folder)
    # The generated folders have no __init__.py, and grpcio's own package is called grpc: make Python find both.
    grpc.__path__.append(f"{folder}/grpc")


def main(address: str, credential_file: str) -> None:
    from grpc.health.v1 import health_pb2, health_pb2_grpc
    from latchkey.v1 import auth_service_pb2, auth_service_pb2_grpc, key_service_pb2, key_service_pb2_grpc

    credential = pathlib.Path(credential_file).read_text(encoding="ascii").strip()
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        expect(health.status == health_pb2.HealthCheckResponse.SERVING, health)

        auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        registered = auth.Register(
            auth_service_pb2.RegisterRequest(
                email=f"{secrets.token_hex(8)}@example.com", password=secrets.token_urlsafe(24)
            ),
            timeout=10,
        )
        expect(registered.user.id.startswith("usr_"), registered.user)

        keys = key_service_pb2_grpc.KeyServiceStub(channel)
        issued = keys.IssueKey(
            key_service_pb2.IssueKeyRequest(name="python"),
            metadata=bearer(registered.tokens.access_token),
            timeout=10,
        )
        expect(issued.key.owner_id == registered.user.id, issued.key)

        answer = keys.VerifyKey(
            key_service_pb2.VerifyKeyRequest(api_key=issued.api_key), metadata=bearer(credential), timeout=10
        )
        expect(answer.valid and answer.verdict == key_service_pb2.VERDICT_VALID, answer)
        expect(answer.key.id == issued.key.id, answer)
        expect(sorted(status.limit for status in answer.rate_limits) == [20, 1000], answer)


def bearer(credential: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {credential}")]


def expect(is_so: bool, answer: object) -> None:
    if not is_so:
        sys.exit(f"unexpected answer: {answer}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as generated:
        generate(generated)
        main(sys.argv[1], sys.argv[2])
