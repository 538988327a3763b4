"""Certificates for one run of the tests: an authority, the broker's, a client's whose key needs a password. Made by openssl."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

KEY_PASSWORD = "client-key-password"
HOSTS = "subjectAltName=IP:127.0.0.1,DNS:localhost"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def make(folder: pathlib.Path) -> pathlib.Path:
    """Fills the folder with ca.pem, server.pem and client-open.pem (key and certificate each), client.pem, client.key; returns it."""
    folder.mkdir(exist_ok=True)
    openssl(folder, "req", "-x509", *EC, "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=lakehead tests")
    for name in ("server", "client"):
        openssl(folder, "req", *EC, "-nodes", "-keyout", f"{name}.open.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(HOSTS)
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", f"{name}.ext", "-days", "2", "-out", f"{name}.crt")
    openssl(folder, "pkcs8", "-topk8", "-in", "client.open.key", "-passout", f"pass:{KEY_PASSWORD}", "-out", "client.key")
    shutil.copy(folder / "client.crt", folder / "client.pem")
    for name, file in (("server", "server.pem"), ("client", "client-open.pem")):
        key, certificate = (folder / f"{name}.open.key").read_text(), (folder / f"{name}.crt").read_text()
        (folder / file).write_text(key + certificate)
    return folder


def openssl(folder: pathlib.Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}:\n{done.stderr}")
