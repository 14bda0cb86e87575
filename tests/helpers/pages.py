"""Reports as the tests read them."""

from html.parser import HTMLParser

from hubfast.report import write_ranking

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps text, attributes and the cells of the first table."""

    def __init__(self, path):
        super().__init__()
        self.open, self.texts, self.attributes, self.rows, self.tags = [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)
            if "td" in self.open or "th" in self.open:
                self.rows[-1][-1] += data

    @property
    def text(self):
        return "".join(self.texts)


def written(tmp_path, content, name="report.html"):
    path = tmp_path / name
    write_ranking(path, content)
    return Page(path)
