"""Sphinx' configuration of the site. Nothing in it asks another server."""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

project = "Piko"
copyright = "the authors of Piko"  # noqa: A001 - the name is Sphinx'
html_title = "Piko"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["piko.css"]
html_favicon = "static/piko.svg"
html_copy_source = False
html_show_sphinx = False
extensions = ["myst_parser"]
# Every heading has the anchor that GitHub gives it.
myst_heading_anchors = 6
myst_fence_as_directive = ["mermaid"]
# Consoles show what programs print, and JSON with an ellipsis is no JSON.
suppress_warnings = ["misc.highlighting_failure"]

html_search_language = "en-zh"
_MERMAID = "mermaid-tiny-11.17.2.js"


class SearchEnglishAndChinese(SearchEnglish):
    """Finds words of English, and pairs of characters of Chinese, which has nothing between its words."""

    lang = "en-zh"
    language_name = "English"  # the name of the stemmer in the browser
    js_splitter_code = r"""
var splitQuery = (query) => query.split(/[^\p{Letter}\p{Number}_]+/gu)
  .flatMap((part) => part.match(/[\u4e00-\u9fff]+|[^\u4e00-\u9fff]+/g) || [])
  .flatMap((word) => /^[\u4e00-\u9fff]{3,}$/.test(word)
    ? Array.from({length: word.length - 1}, (_, i) => word.slice(i, i + 2)) : [word]);
"""

    def split(self, input: str) -> list[str]:  # noqa: A002 - the name is Sphinx'
        """The terms of a text."""
        words = re.findall(r"[\u4e00-\u9fff]+|[^\W\u4e00-\u9fff]+", input)
        return [term for word in words for term in _terms(word)]


class Mermaid(Directive):
    """A diagram, which the browser draws."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        text = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="mermaid">{text}</pre>', format="html")]


def _terms(word: str) -> list[str]:
    if len(word) < 3 or not re.match(r"[\u4e00-\u9fff]", word):
        return [word]
    return [word[at : at + 2] for at in range(len(word) - 1)]


def _finish(app: Sphinx, page: str, _: str, context: dict[str, Any], __: object) -> None:
    """Give a page with diagrams the script that draws them, and a Chinese one its language."""
    if 'class="mermaid"' in context.get("body", ""):
        app.add_js_file(_MERMAID)
    if page.startswith("zh/"):
        context["language"] = "zh"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(SearchEnglishAndChinese)
    app.add_directive("mermaid", Mermaid)
    app.connect("html-page-context", _finish)
