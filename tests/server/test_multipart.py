"""Forms byte by byte, and forms that are none."""

import random

import httpx
import pytest

from fairway.errors import RequestError
from fairway.server.multipart import MAX_HEADER_BYTES, MultipartParser, Part, boundary_of

CRLF = b"\r\n"


def events(body: bytes, boundary: bytes, sizes=None) -> list:
    """Parts with their bytes joined."""
    parser, found = MultipartParser(boundary), []
    sizes = sizes or [len(body)]
    at = 0
    while at < len(body):
        size = sizes[at % len(sizes)]
        for event in parser.feed(body[at : at + size]):
            if isinstance(event, Part):
                found.append((event.name, event.filename, b""))
            else:
                found[-1] = (*found[-1][:2], found[-1][2] + event)
        at += size
    parser.finish()
    return found


def test_what_httpx_sends_comes_back_however_it_is_cut() -> None:
    content = random.Random(1).randbytes(3000) + b"\r\n--" + b"\r\n\r\n"
    files = {"file": ('Zoë\'s "data".jsonl', content), "empty": ("e", b"")}
    request = httpx.Request("POST", "http://x/", data={"purpose": "fine-tune"}, files=files)
    body, boundary = request.read(), boundary_of(request.headers["content-type"])
    for sizes in ([len(body)], [1], [2, 7, 1], [64]):
        found = events(body, boundary, sizes)
        assert found[0] == ("purpose", None, b"fine-tune")
        assert (found[1][0], found[1][2]) == ("file", content)
        assert found[2] == ("empty", "e", b"")


def test_content_that_looks_like_a_boundary_is_content() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n--b\r\n--c\r\n-\r\n\r\n--b--\r\nepilogue'
    with pytest.raises(RequestError, match="followed by something else"):
        events(body.replace(b"\r\n--c", b"\r\n--bc"), b"b")
    assert events(body, b"b") == [("a", None, b"--b\r\n--c\r\n-\r\n")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "ends before its last boundary"),
        (b"x" * 10_000, "its boundary does not come"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue', "ends before its last boundary"),
        (b"--b\r\n\r\nvalue\r\n--b--", "has no Content-Disposition"),
        (b"--b\r\nX: " + b"y" * MAX_HEADER_BYTES, "header of a part is too long"),
        (b"--b" + b" " * MAX_HEADER_BYTES, "followed by something else"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "a part has no name"),
        (b'--b\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--b--', "is not form-data"),
        (b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--', "is not UTF-8"),
    ],
)
def test_what_is_no_form_is_one_sentence(body, said) -> None:
    for sizes in ([len(body) or 1], [1], [100]):
        with pytest.raises(RequestError, match=said):
            events(body, b"b", sizes)


def test_a_header_without_boundary() -> None:
    assert boundary_of('multipart/form-data; boundary="a b"') == b"a b"
    with pytest.raises(RequestError, match="names no boundary"):
        boundary_of("multipart/form-data")


def test_memory_stays_small_however_long_the_file_is() -> None:
    parser = MultipartParser(b"b")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    assert list(parser.feed(head)) == [Part("file", "f")]
    for _ in range(100):
        pieces = list(parser.feed(b"z" * 10_000))
        assert sum(map(len, pieces)) >= 9_990
        assert len(parser._rest) < 10
