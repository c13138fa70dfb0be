"""A page parsed: what it would load, and whether it is well formed."""

from html.parser import HTMLParser


class Checked(HTMLParser):
    """Notes what a page would load, and that every element is closed."""

    VOID = ("meta", "br", "img", "input", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.loads = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loads += [
            value for key, value in attributes if key in ("src", "href", "srcset", "action", "data")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
