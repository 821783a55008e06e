"""Everything that can go wrong for a reason a user can mend.

AdaptSegError
+-- BundleError            the bundle can't be used (missing, wrong checksum, unknown format ...)
+-- ConfigError            a setting or an argument is wrong
+-- RequestError           the client's doing; each carries its HTTP status and its stable name
    +-- BadImage           400  the bytes are not a readable image
    +-- Unauthenticated    401  no token, or none that this service knows
    +-- NotFound           404  no such model or version
    +-- NotAcceptable      406  no answer format the client accepts
    +-- TooLarge           413  too many bytes or too many pixels
    +-- UnsupportedType    415  neither JPEG nor PNG
    +-- BadParameter       422  a query parameter, a tensor's shape or dtype
    +-- Busy               503  the queue is full, the service is loading or draining
    +-- DeadlineExceeded   504  the request's own deadline passed before its turn

A message says what was wrong, where, what was expected, and how to mend it.

A future or task that failed holds its error, the error its traceback, and that the frames it came through with the
request in them. A frame that holds the future, too, closes a circle that only the collector ends, and after `gc.freeze`
it comes seldom: so whoever awaits one lets go of it, also where it fails (tests/test_errors_let_go.py).
"""

from typing import ClassVar

FAILED = "The server failed to answer; its log says why."
"""What a client hears of an error that is none of these, and none of its doing."""
MAX_DETAILS = 1000
"""Characters of a message that a client gets: it may quote what that sent, and gRPC's travels as a header."""


class AdaptSegError(Exception):
    """Base of every error that this project raises on purpose."""


class BundleError(AdaptSegError):
    """A bundle can't be opened or used."""


class ConfigError(AdaptSegError):
    """A setting, an argument or a file of the user's is wrong."""


class RequestError(AdaptSegError):
    """A request can't be served; `status` is its HTTP status, `name` the stable tail of its problem type."""

    status: ClassVar[int] = 400
    name: ClassVar[str] = "bad-request"


class BadImage(RequestError):
    status, name = 400, "bad-image"


class Unauthenticated(RequestError):
    status, name = 401, "unauthenticated"


class NotFound(RequestError):
    status, name = 404, "not-found"


class NotAcceptable(RequestError):
    status, name = 406, "not-acceptable"


class TooLarge(RequestError):
    status, name = 413, "too-large"


class UnsupportedType(RequestError):
    status, name = 415, "unsupported-type"


class BadParameter(RequestError):
    status, name = 422, "bad-parameter"


class Busy(RequestError):
    status, name = 503, "busy"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which a retry makes sense."""


class DeadlineExceeded(RequestError):
    status, name = 504, "deadline-exceeded"
