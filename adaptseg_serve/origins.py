"""ADAPTSEG_CORS_ORIGINS: the web pages elsewhere that may ask this service from a browser."""

import re

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")


class Origins(str):
    """A comma list of exact origins, scheme://host[:port] as browsers send them; empty: none. ValueError otherwise.

    `*` is refused: a service that asks for no tokens trusts whoever reaches it, and with `*` any page that somebody
    inside that network opens could send it frames and read the answers. `null` is refused, too: it is what every
    sandboxed page and local file says.
    """

    __slots__ = ()

    def __new__(cls, text: str = "") -> "Origins":
        origins = [origin.strip() for origin in text.split(",") if origin.strip()]
        if not all(_ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError(text)
        return super().__new__(cls, ",".join(origins))

    @property
    def each(self) -> list[str]:
        return self.split(",") if self else []
