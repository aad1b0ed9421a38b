"""The page on which experts answer: one HTML text that loads nothing from elsewhere.

Three files beside this one come in; the page and the policy that binds the browser to
it go out. Nothing here knows what is asked: the page's script asks the server.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@cache
def page() -> str:
    """Return the page with its style and script."""
    text = _read("page.html")
    text = text.replace("/*STYLE*/", _read("page.css"))
    return text.replace("/*SCRIPT*/", _read("page.js"))


@cache
def page_policy() -> str:
    """Return the Content-Security-Policy: our own script and style, our own server."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash('page.js')}'",
            f"style-src '{_hash('page.css')}'",
            "img-src blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(name: str) -> str:
    digest = hashlib.sha256(_read(name).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
