"""From a request to the image's bytes and the parameters: a raw body, or a multipart form with the file in `image`."""

from collections.abc import Mapping
from contextlib import aclosing

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from adaptseg_serve.errors import BadImage, BadParameter

FIELD = "image"


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # The body limit bounds it; a detour over the disk would only cost time.

    def close(self) -> None:
        """Close all files, also that of a part which was cut short and is in no form."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_body(request: Request) -> tuple[bytes, Mapping[str, str]]:
    """The image's bytes and the parameters. Raises BadParameter where a form is not as it should be."""
    query = dict(request.query_params)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        return await request.body(), query
    async with aclosing(request.stream()) as stream:
        parser = _InMemory(request.headers, stream, max_files=1, max_fields=16, max_part_size=4096)
        try:
            form = await _form(parser)
            return await _image(form), query | _texts(form)
        finally:
            parser.close()


async def _form(parser: _InMemory) -> FormData:
    try:
        return await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:  # which of them depends on Starlette's release
        why = error.message if isinstance(error, MultiPartException) else repr(error)
        raise BadImage(f"The multipart form can't be read: {why}. Send one file, in field {FIELD!r}.") from None


async def _image(form: FormData) -> bytes:
    value = form.get(FIELD)
    if isinstance(value, UploadFile):
        return await value.read()
    if value is None:
        raise BadParameter(f"The form has no field {FIELD!r}. Put the JPEG or PNG file there.")
    # BentoML would fetch this text as an address: a tunnel for strangers into the network behind the service.
    raise BadParameter(f"Field {FIELD!r} is text, not a file; this service fetches no addresses. Send the file itself.")


def _texts(form: FormData) -> dict[str, str]:
    """Parameters among the fields; BentoML's client sends each as JSON, hence the quotes."""
    return {name: value.strip('"') for name, value in form.items() if isinstance(value, str)}
