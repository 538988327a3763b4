"""The listeners of Kafka that do not let everybody in, and what librdkafka needs to be let in."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any

from certificates import KEY_PASSWORD
from parts import KAFKA_PASSWORD, KAFKA_USER

Properties = dict[str, Any]


@dataclass(frozen=True)
class Listeners:
    """Addresses, and the folder of the certificates."""

    sasl_ssl: str
    mtls: str
    certificates: pathlib.Path

    @property
    def authority(self) -> Properties:
        return {"ssl.ca.location": str(self.certificates / "ca.pem")}

    def sasl(self, mechanism: str) -> Properties:
        """The password comes from the environment; see `password`."""
        return {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": KAFKA_USER,
                "sasl.password": {"env": "KAFKA_PASSWORD"}}

    @property
    def password(self) -> dict[str, str]:
        return {"KAFKA_PASSWORD": KAFKA_PASSWORD}

    def certificate(self, folder: pathlib.Path) -> Properties:
        """The key's password comes from a file in the folder of the configuration."""
        (folder / "key.password").write_text(f"{KEY_PASSWORD}\n")
        return {"security.protocol": "SSL", "ssl.certificate.location": str(self.certificates / "client.pem"),
                "ssl.key.location": str(self.certificates / "client.key"), "ssl.key.password": {"file": "key.password"}}
