"""A timestamp authority (RFC 3161) for tests: OpenSSL behind a local HTTP server."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
C = XX
O = Test authority
CN = Test authority
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[clock]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[person]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = emailProtection
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = stamping
[stamping]
serial = ./serial
signer_cert = ./clock.pem
signer_key = ./clock.key
certs = ./root.pem
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
"""


class Authority(NamedTuple):
    """Where it is, its root, and a person (PEM: key, certificate) to whom the same root gave a signer's certificate."""

    url: str
    root: Path
    person: Path


@contextmanager
def timestamp_authority(folder: Path) -> Iterator[Authority]:
    (folder / "c.cnf").write_text(_CONFIGURATION)
    (folder / "serial").write_text("01\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "c.cnf"]
    _openssl(
        folder, "req", "-x509", *new, "-extensions", "root", "-days", "9", "-keyout", "root.key", "-out", "root.pem"
    )
    for name in ("clock", "person"):
        _openssl(folder, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/C=XX/O=T/CN={name}")
        issue = ["-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"]
        extend = ["-extfile", "c.cnf", "-extensions", name, "-days", "8"]
        _openssl(folder, "x509", *issue, *extend, "-out", f"{name}.pem")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            ask = ["-config", "c.cnf", "-section", "stamping", "-queryfile", "query", "-out", "answer"]
            _openssl(folder, "ts", "-reply", *ask)
            answer = (folder / "answer").read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            person = folder / "both.pem"
            person.write_bytes((folder / "person.key").read_bytes() + (folder / "person.pem").read_bytes())
            yield Authority(f"http://127.0.0.1:{server.server_port}/", folder / "root.pem", person)
        finally:
            server.shutdown()
            thread.join(10)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=120)  # noqa: S607 - wherever it is
