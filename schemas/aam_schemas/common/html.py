"""Self-contained HTML pages: style, tables, cards and plots. They open without a network."""

import base64
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: #22262b; background: #f6f7f9;
  max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .7rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1rem 0 }
.cards div, figure, .sheet { background: #fff; border: 1px solid #e1e4e8; border-radius: 8px }
.cards div { padding: .7rem 1rem; color: #59616b }
.cards b { display: block; font-size: 1.35rem; font-weight: 600; color: #22262b }
.cards small { display: block }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: .8rem }
.plots figure { max-width: 32rem }
figure { margin: 0; padding: .9rem 1rem } figure img { width: 100%; height: auto; display: block }
.sheet { overflow-x: auto; padding: .3rem 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; color: #59616b; font-size: .85rem }
td, th { padding: .35rem 1rem .35rem 0; border-bottom: 1px solid #eef0f2; vertical-align: top;
  overflow-wrap: anywhere }
th { overflow-wrap: break-word }
tr:last-child td, tr:last-child th { border-bottom: 0 }
details { margin: .5rem 0 } summary { cursor: pointer }
i.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .5em }
"""


def page(title: str, parts: Iterable[str]) -> bytes:
    """Return an HTML page whose first heading is its title. See `document` for the parts."""
    return document(title, [f"<h1>{escape(title)}</h1>", *parts])


def document(title: str, parts: Iterable[str], style: str = "") -> bytes:
    """Return an HTML page made of parts that have their own headings.

    Parameters
    ----------
    title : str
        Title of the browser's tab.
    parts : iterable of str
        Pieces of HTML, in order. Empty ones are skipped.
    style : str
        CSS rules in addition to those that all pages share.
    """
    body = "\n".join(part for part in parts if part)
    return _PAGE.format(title=escape(title), style=_STYLE + style, body=body).encode()


def cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return the HTML of a row of cards, from a label, a value and a remark for each."""
    shown = (
        f"<div>{escape(name)}<b>{escape(number)}</b><small>{escape(remark)}</small></div>"
        for name, number, remark in figures
    )
    return f'<section class="cards">{"".join(shown)}</section>'


def table(
    rows: Iterable[Sequence[str]], heads: Sequence[str] = (), colors: Mapping[int, str] | None = None
) -> str:
    """Return the HTML of a table whose first column is a heading.

    Parameters
    ----------
    rows : iterable of sequence of str
    heads : sequence of str
        Headings of the columns.
    colors : mapping of int to str, optional
        Color of the key before the heading of a column, such as `#1f5673`, by the number of the column.
    """
    keys = {
        number: f'<i class="key" style="background: {color}"></i>' for number, color in (colors or {}).items()
    }
    titles = (f"<th>{keys.get(number, '')}{escape(title)}</th>" for number, title in enumerate(heads))
    head = f"<tr>{''.join(titles)}</tr>" if heads else ""
    lines = (
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<div class="sheet"><table>{head}{"".join(lines)}</table></div>'


def png(figure: "Figure", software: str | None = None) -> bytes:
    """Return a figure as PNG, with the name of the software that drew it. Equal figures give equal bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Characters that the font lacks, of a name for example, are drawn as boxes.
        warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)
        # By default matplotlib writes its version into the file.
        figure.savefig(buffer, dpi=150, format="png", metadata={"Software": software})
    return buffer.getvalue()


def embedded_png(content: bytes, name: str) -> str:
    """Return the HTML of a PNG that is embedded in the page."""
    data = base64.b64encode(content).decode()
    return f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{data}"></figure>'
