"""Azure Blob Storage's emulator: its public account, and the container that the tests use."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
from email.utils import formatdate

ACCOUNT, CONTAINER = "devstoreaccount1", "lakehead"
# Known to everybody; it opens nothing but emulators.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-08-06"


def make_container(port: int) -> bool:
    """Makes the container; false while the emulator does not answer."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION}
    path = f"/{ACCOUNT}/{CONTAINER}"
    signed = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in headers.items()) + f"/{ACCOUNT}{path}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("PUT", f"{path}?restype=container", headers=headers | {"Authorization": f"SharedKey {ACCOUNT}:{signature}",
                                                                                  "Content-Length": "0"})
        return connection.getresponse().status in (201, 409)
    except OSError:
        return False
    finally:
        connection.close()
