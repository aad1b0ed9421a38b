"""Reads and writes that failed for a reason that passes are tried again.

A call comes in, its answer goes out, or the last error with how often it was tried.
Networks drop, servers are busy, a file handle turns stale: such errors are waited out,
for some seconds in all. What will not pass (no such file, no right to it, a full disk,
damaged data) is said at once. Nothing here knows what is read or written.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

DELAYS: Final = (0.5, 2.0, 6.0)
"""Seconds before the second, third and last try."""
PASSING: Final = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
        "EPIPE", "EAGAIN", "EINTR", "EBUSY", "ENETDOWN", "ENETUNREACH", "ENETRESET",
        "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO",
    )
    if hasattr(errno, name)
)  # fmt: skip
FULL: Final = frozenset({errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", 122)})
"""A disk without room, or that takes nothing: waiting does not help."""
_PASSING_CLASSES: Final = frozenset(
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
"""HTTP answers that ask to come again."""


def is_passing(error: BaseException) -> bool:
    """Return whether the same call may well succeed in a moment."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and error.errno in PASSING:
        return True
    for name in ("status", "status_code", "code"):
        if str(getattr(error, name, "")) in map(str, _BUSY):
            return True
    return any(each.__name__ in _PASSING_CLASSES for each in type(error).__mro__)


def _final(error: BaseException, tries: int) -> OSError:
    number = getattr(error, "errno", None)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    told = f"{text} (tried {tries} times)"
    return OSError(told) if number is None else OSError(number, told)


def retry(call: Callable[[], T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Return what `call` returns, trying again after errors that pass.

    Parameters
    ----------
    call
        May be called several times.
    sleep
        Waits for some seconds.

    Raises
    ------
    OSError
        It still failed in the end; the message says how often it was tried.
    """
    for delay in DELAYS:
        try:
            return call()
        except Exception as error:
            if not is_passing(error):
                raise
        sleep(delay)
    try:
        return call()
    except Exception as error:
        if not is_passing(error):
            raise
        raise _final(error, len(DELAYS) + 1) from error


async def retry_async(
    call: Callable[[], Awaitable[T]],
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """Do as `retry` for what is awaited."""
    for delay in DELAYS:
        try:
            return await call()
        except Exception as error:
            if not is_passing(error):
                raise
        await sleep(delay)
    try:
        return await call()
    except Exception as error:
        if not is_passing(error):
            raise
        raise _final(error, len(DELAYS) + 1) from error
