"""The labelling page: a small server on this machine only, and one self-contained HTML file.

Who may speak to it: a request must carry the random token in its path and name a loopback host, so another page in the
same browser can neither guess the address nor reach it by a name of its own (DNS rebinding); a label must come as JSON,
which no form can send across origins. The browser is told to load nothing from anywhere else. A client names places in
the sample by number, never files.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import re
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from unmirage.datasets.pictures import open_picture
from unmirage.lab.labelling import CHOICES, Desk

SIDE = 1024
"""Pictures are sent at most so many pixels wide and high."""
BODY = 4096
"""A longer request is refused unread."""
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


class Refused(Exception):
    """A request that is not answered: its status and why."""

    def __init__(self, status: int, why: str) -> None:
        """A status from 400, and one line for the client."""
        super().__init__(why)
        self.status = status


class LabelServer(ThreadingHTTPServer):
    """The page of one desk on 127.0.0.1; `url` opens it. `card` makes the judge card once everything is labelled."""

    daemon_threads = True

    def __init__(self, desk: Desk, card: Callable[[], dict[str, Any]], port: int = 0) -> None:
        """Listen on `port`; 0 takes a free one.

        Raises:
            ValueError: the port is taken or not allowed.
        """
        self.desk, self.card, self.token = desk, card, secrets.token_urlsafe(18)
        self.page = resources.files("unmirage").joinpath("lab", "label.html").read_bytes()
        self.policy = _policy(self.page.decode("utf-8"))
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(f"cannot listen on port {port}: {error}; choose another --port, or 0 for a free one") from error

    @property
    def url(self) -> str:
        """The page's address, token and all."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def state(self) -> dict[str, Any]:
        """Where the labeller stands, and what can be chosen."""
        choices = [{"outcome": key, "name": name, "meaning": meaning} for key, (name, meaning) in CHOICES.items()]
        desk = self.desk
        return {
            "labeller": desk.labeller,
            "done": desk.done,
            "total": len(desk.items),
            "next": desk.next,
            "choices": choices,
        }


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def version_string(self) -> str:
        return "unmirage"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address holds the token, and the terminal is the labeller's."""

    def _answer(self, made: Callable[[str], tuple[str, bytes]]) -> None:
        try:
            status, (kind, body) = 200, made(self._place())
        except Refused as refused:
            self.close_connection = True  # what it still has to say is not read
            status, kind, body = refused.status, *_json({"error": str(refused)})
        except Exception as error:
            self.close_connection = True
            status, kind, body = 500, *_json({"error": f"{type(error).__name__}: {error}"})
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        headers |= {"Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff"}
        headers |= {"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}
        headers |= {"Cross-Origin-Opener-Policy": "same-origin"} | ({"Connection": "close"} if self.close_connection else {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _place(self) -> str:
        """What comes after the token in the path of a request that may be answered."""
        if not _HOST.fullmatch(self.headers.get("Host", "")):
            raise Refused(403, "this page is for this machine only")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise Refused(403, "this request comes from another page")
        _, token, *rest = self.path.split("/", 2) if self.path.startswith("/") else ("", "")
        if not rest or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(404, "there is nothing here: open the address that `unmirage label` printed")
        return rest[0]

    def _get(self, place: str) -> tuple[str, bytes]:
        server, desk = self.server, self.server.desk
        if place == "":
            return "text/html; charset=utf-8", server.page
        if place == "state":
            return _json(server.state())
        if place == "card":
            if desk.next is not None:
                raise Refused(409, "the card is shown when every item has its label, so that it cannot sway one")
            return _json(server.card())
        kind, _, number = place.partition("/")
        if kind in ("item", "picture") and re.fullmatch(r"\d{1,9}", number, re.ASCII):
            try:
                return _json(desk.shown(int(number))) if kind == "item" else ("image/png", _picture(desk, int(number)))
            except IndexError as error:
                raise Refused(404, str(error)) from error
        raise Refused(404, "there is nothing here")

    def _post(self, place: str) -> tuple[str, bytes]:
        if place != "label":
            raise Refused(404, "there is nothing to send here")
        told = self._body()
        if set(told) != {"id", "outcome", "seconds"} or not isinstance(told["id"], str):
            raise Refused(400, "a label has exactly: id, outcome, seconds")
        try:
            self.server.desk.choose(told["id"], told["outcome"], told["seconds"])
        except KeyError as error:
            raise Refused(404, "there is no such item") from error
        except ValueError as error:
            raise Refused(400, str(error)) from error
        return _json(self.server.state())

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,12}", length, re.ASCII):
            raise Refused(411, "a label comes with its length")
        if int(length) > BODY:
            raise Refused(413, f"a label has at most {BODY} bytes")
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "a label comes as application/json")
        try:
            told = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(400, "not JSON") from error
        if not isinstance(told, dict):
            raise Refused(400, "not a JSON object")
        return told


def _json(value: Any) -> tuple[str, bytes]:
    return "application/json; charset=utf-8", json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _picture(desk: Desk, place: int) -> bytes:
    """The picture at `place`, decoded and written anew, so that nothing of the file but what is seen goes out."""
    try:
        picture = open_picture(desk.answer(place).example)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise Refused(404, "its picture is missing or cannot be read") from error
    picture.thumbnail((SIDE, SIDE))
    picture.info.clear()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _policy(page: str) -> str:
    """Only the page's own script and style, named by their digests; pictures and requests only from its own origin."""

    def digests(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        each = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{one}'" for one in each)

    closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return f"{closed}; script-src {digests('script')}; style-src {digests('style')}; img-src 'self' data:; connect-src 'self'"
