"""Where a client connects to."""

from urllib.parse import urlsplit

from adaptseg_serve.errors import ConfigError


def parse_address(url: str) -> tuple[str, str]:
    """(scheme, host:port) of http[s]://... or grpc[s]://host:port; ConfigError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.netloc:
        raise ConfigError(f"{url!r} is no address of a service. Use http://host:3000 or grpc://host:3001.")
    return parts.scheme, parts.netloc
