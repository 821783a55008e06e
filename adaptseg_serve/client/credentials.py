"""Who the client is, and whom it trusts."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from adaptseg_serve.errors import ConfigError


@dataclass(frozen=True)
class Credentials:
    """For https:// and grpcs:// addresses; the token goes along on any."""

    ca: Path | None = None
    """PEM file of the authority that signed the service's certificate; None: those the system trusts."""
    certificate: Path | None = None
    """PEM file of the client's own certificate, where the service asks for one (mTLS)."""
    key: Path | None = None
    """PEM file of that certificate's private key."""
    token: str = field(default="", repr=False)
    """Bearer token; "": none."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("A client's certificate and its key go together; give both, or neither.")

    def headers(self) -> dict[str, str]:
        """As HTTP headers or gRPC metadata (hence lower case)."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def context(self) -> ssl.SSLContext:
        """For HTTPS. Raises ConfigError where a file can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # an SSLError is one
            raise ConfigError(f"The client's certificates can't be used ({error}). {self._files()}") from None
        return context

    def channel(self) -> grpc.ChannelCredentials:
        """For gRPC over TLS. Raises ConfigError where a file can't be read."""
        try:
            parts = [None if file is None else file.read_bytes() for file in (self.ca, self.key, self.certificate)]
        except OSError as error:
            raise ConfigError(f"The client's certificates can't be used ({error}). {self._files()}") from None
        return grpc.ssl_channel_credentials(*parts)

    def _files(self) -> str:
        return f"They must be PEM files: ca={self.ca}, certificate={self.certificate}, key={self.key}."
