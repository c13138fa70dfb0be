"""The six boxes: what is ticked by a server that answers, and what stays red."""

import http.server
import threading

import pytest

from fairway.map.catalogue import load_catalogue
from fairway.map.production import Reply, asker, checklist

URL = "http://127.0.0.1:1"
METRICS = "fairway_time_to_first_token_seconds_bucket 1\nfairway_http_requests_total 2\n"


def states(answers):
    boxes = checklist(lambda path: answers.get(path), URL)
    return {box.name: box.state for box in boxes}


def test_the_boxes_are_those_of_the_article():
    names = [name.lower() for name in states({})]
    rows = [row for row in load_catalogue().recommendations.values() if row.table == "4/checklist"]
    assert names == [row.when.lower() for row in rows]


def test_nothing_is_ticked_without_a_server():
    assert "done" not in states({}).values()


def test_a_healthy_server_ticks_its_box():
    found = states({"/health": Reply(200, "{}", 0.002), "/metrics": Reply(200, METRICS, 0.01)})
    assert found["Health checks"] == "done" and found["Monitoring"] == "partly"
    assert found["Autoscaling"] == found["Rollback plan"] == found["Cost alerts"] == "missing"


@pytest.mark.parametrize(
    ("answers", "name", "state", "says"),
    [
        ({"/health": Reply(503, "", 0.1)}, "Health checks", "partly", "cannot serve"),
        ({"/metrics": Reply(401, "", 0.1)}, "Monitoring", "missing", "--api-key"),
        ({"/metrics": Reply(200, "node_cpu 1", 0.1)}, "Monitoring", "missing", "not Fairway's"),
        ({"/v1/models": Reply(200, '{"data": [{"id": "tiny"}]}', 0.1)}, "Model versioning", "partly", "tiny"),
        ({"/v1/models": Reply(200, "[]", 0.1)}, "Model versioning", "partly", "serves nothing"),
        ({"/v1/models": Reply(500, "", 0.1)}, "Model versioning", "partly", "500"),
    ],
)
def test_what_is_seen_is_said(answers, name, state, says):
    box = next(box for box in checklist(answers.get, URL) if box.name == name)
    assert box.state == state and says in f"{box.evidence} {box.lacks}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.headers.get("Authorization") == "Bearer key" else 401)
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, *_):
        pass


def test_asking_over_http():
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    try:
        assert asker(url, "key")("/health").text == "well"
        assert asker(url)("/health").status == 401
    finally:
        server.shutdown()
        server.server_close()
    assert asker(url)("/health") is None
    assert asker("nonsense")("/health") is None
