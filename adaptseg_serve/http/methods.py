"""405 for a path that exists and a method that it doesn't have, where a catch-all route would say 404."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match, Route

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""What a catch-all route takes."""


def refuse_method(request: Request) -> None:
    """Raise HTTPException 405, with Allow, if one of the app's routes has the request's path for other methods."""
    known = [route for route in request.app.routes if isinstance(route, Route)]
    allowed = {m for r in known if r.matches(request.scope)[0] is Match.PARTIAL for m in r.methods or ()}
    if allowed:
        names = ", ".join(sorted(allowed))
        raise HTTPException(405, f"Use {names}.", {"Allow": names})
