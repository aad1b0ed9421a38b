"""Retries reads and writes after transient errors.

A call comes in; its result goes out, or the last error with the number of tries. For
lost connections, busy servers and stale file handles the call is repeated, within some
seconds in all. Permanent errors (a missing file, no permission, a full disk, damaged
data) are raised at once. Nothing here knows what is read or written.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

DELAYS: Final = (0.5, 2.0, 6.0)
"""Seconds before the second, third and fourth try."""
TRANSIENT: Final = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
        "EPIPE", "EAGAIN", "EINTR", "EBUSY", "ENETDOWN", "ENETUNREACH", "ENETRESET",
        "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
FULL: Final = frozenset({errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", 122)})
"""The disk is full or read-only: a retry does not help."""
_TRANSIENT_CLASSES: Final = frozenset(
    {
        # aiohttp
        "ClientConnectionError", "ClientPayloadError", "ServerDisconnectedError",
        # botocore
        "ConnectionClosedError", "ConnectTimeoutError", "EndpointConnectionError",
        "HTTPClientError", "ReadTimeoutError", "ResponseStreamingError",
        # requests and urllib3
        "ChunkedEncodingError", "ProtocolError",
        # Azure
        "ServiceRequestError", "ServiceResponseError", "IncompleteReadError",
    }
)  # fmt: skip
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP status codes after which a retry may succeed."""


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in TRANSIENT:
        return True
    for name in ("status", "status_code", "code"):
        if str(getattr(error, name, "")) in map(str, _BUSY):
            return True
    return any(each.__name__ in _TRANSIENT_CLASSES for each in type(error).__mro__)


def _delay(error: Exception, tries: int) -> float:
    """Return the seconds until the next try; raise the error if there is none."""
    if not is_transient(error):
        raise error
    if tries <= len(DELAYS):
        return DELAYS[tries - 1]
    number = getattr(error, "errno", None)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    message = f"{text} (tried {tries} times)"
    final = OSError(message) if number is None else OSError(number, message)
    raise final from error


def retry(call: Callable[[], T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Return the result of `call`, called up to four times after transient errors.

    Raises OSError if the last try failed too; the message has the number of tries.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return call()
        except Exception as error:
            delay = _delay(error, tries)
        sleep(delay)


async def retry_async(
    call: Callable[[], Awaitable[T]],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Return the awaited result of `call`; the same as `retry`."""
    tries = 0
    while True:
        tries += 1
        try:
            return await call()
        except Exception as error:
            delay = _delay(error, tries)
        await sleep(delay)
