"""The report of a validation as one HTML page. Plots are embedded, so it needs no network."""

import base64
import re
from collections.abc import Iterable
from html import escape
from importlib.metadata import version
from typing import Any

import numpy as np

from aam_schemas.common.html import document
from aam_schemas.manifest import Choices
from aamprep.checks.summary import Summary
from aamprep.checks.thresholds import REPORTED_TOKEN_LIMITS
from aamprep.report.documents import (
    EXAMPLES_PER_RULE,
    Prepared,
    examples_by_rule,
    how_many,
    shortened,
    tally,
    verdict,
    why_not_checked,
)
from aamprep.report.plots import Plot, draw_all
from aamprep.rules.findings import Finding, Findings
from aamprep.rules.rule import Rule

_STYLE = """
h3 { font-size: .95rem; margin: 0 0 .4rem }
code { font: .86em ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere }
header, article { background: #fff; border: 1px solid #e1e4e8; border-radius: 8px }
header { border-left: 8px solid #2f855a; padding: 1rem 1.3rem }
header.invalid { border-left-color: #c53030 }
header p { margin: .3rem 0 0; color: #59616b }
header .verdict { font-size: 1.15rem; font-weight: 650; color: #2f855a; margin: .15rem 0 }
header.invalid .verdict { color: #c53030 }
article { padding: .8rem 1.1rem; margin: .7rem 0; border-left-width: 5px }
article.error { border-left-color: #c53030 } article.warning { border-left-color: #d69e2e }
article.note { border-left-color: #3182ce }
article ul { margin: .4rem 0; padding-left: 1.2rem } article li { overflow-wrap: anywhere }
article p { margin: .25rem 0 }
.tag { font-size: .75rem; text-transform: uppercase; letter-spacing: .05em; font-weight: 650;
  margin-right: .5rem }
.error .tag { color: #c53030 } .warning .tag { color: #8a5a00 } .note .tag { color: #2b6cb0 }
.dim { color: #6b727c; font-weight: 400 }
.plots figure { max-width: none }
figcaption { color: #59616b; font-size: .9rem; margin-top: .4rem }
td code { font-size: .78em }
tr.chosen td { background: #fdf3ec }
footer { color: #6b727c; margin-top: 2rem; font-size: .85rem }
@media print { body { background: #fff } article, figure { break-inside: avoid } }
"""
"""Style of parts that only this report has. `aam_schemas.common.html` has the style of all pages."""


def as_html(
    title: str, task: str, findings: Findings, facts: dict[str, Any], prepared: Prepared | None
) -> bytes:
    """Return the bytes of an HTML page. `aamprep.report.report.Report` describes the parameters."""
    parts = [_header(title, task, findings, facts)]
    if prepared is not None:
        parts.append(_cards(facts, prepared.choices))
    parts.append(_findings(findings))
    if prepared is not None and prepared.summary.sample_ids:
        choices, summary = prepared.choices, prepared.summary
        plots = draw_all(summary, prepared.sequence_lengths, choices.token_limit)
        parts += [_plots(plots, choices.rarefy_depth), _limits(summary, choices)]
    parts += [_ids(facts), _inputs(facts), _checked(findings), _footer(prepared)]
    return document(title, parts, _STYLE)


def _header(title: str, task: str, findings: Findings, facts: dict[str, Any]) -> str:
    words = verdict(findings).capitalize()
    left_out = facts.get("samples_read", 0) - facts.get("samples_valid", 0)
    if left_out:
        words += f": {left_out:,} of {facts['samples_read']:,} samples would be rejected"
    kind = "valid" if findings.valid else "invalid"
    return (
        f'<header class="{kind}"><p>{escape(task)} of</p><h1>{escape(title)}</h1>'
        f'<p class="verdict">{escape(words)}</p><p>{escape(tally(findings))}</p></header>'
    )


def _cards(facts: dict[str, Any], choices: Choices) -> str:
    if not facts:
        return ""
    valid = facts.get("samples_valid", 0)
    cards = [
        ("valid samples", f"{valid:,}", f"of {facts['samples_read']:,} samples"),
        ("ASVs", f"{facts['asvs_read']:,}", "distinct sequences"),
    ]
    for name, words in (("depth", "reads per sample"), ("num_asvs", "ASVs per sample")):
        if name in facts:
            low, middle, high = (facts[name][key] for key in ("min", "median", "max"))
            cards.append((words, f"{middle:,.0f}", f"median (range {low:,.0f} to {high:,.0f})"))
    if valid:
        fraction = facts["median_share_of_reads_kept"]
        cards.append(
            ("reads kept", f"{fraction:.1%}", f"median over samples, at token limit {choices.token_limit:,}")
        )
    each = (f"<div>{label}<b>{number}</b><small>{more}</small></div>" for label, number, more in cards)
    return f'<section class="cards">{"".join(each)}</section>'


def _findings(findings: Findings) -> str:
    if not findings.found:
        return "<h2>Findings</h2>\n<p>None.</p>"
    examples = examples_by_rule(findings)
    articles = (_article(rule, examples[rule.code], number) for rule, number in findings.counts().items())
    return "<h2>Findings</h2>\n" + "\n".join(articles)


def _article(rule: Rule, findings: list[Finding], number: int) -> str:
    examples = "".join(f"<li><code>{escape(shortened(finding))}</code></li>" for finding in findings)
    more = number - EXAMPLES_PER_RULE
    if more > 0:
        everywhere = f"use <code>--json</code> or <code>--findings</code> to see {how_many(number)}"
        examples += f'<li class="dim">and {more:,} more ({everywhere})</li>'
    times = f' <span class="dim">&times; {number:,}</span>' if number > 1 else ""
    return (
        f'<article class="{rule.severity.value}"><h3><span class="tag">{rule.severity.value}</span>'
        f"<code>{escape(rule.code)}</code>{times}</h3>"
        f"<p><b>Rule:</b> {escape(rule.requirement)}.</p><ul>{examples}</ul>"
        f"<p><b>Fix:</b> {_with_code(rule.fix)}.</p></article>"
    )


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _plots(plots: list[Plot], rarefy_depth: int | None) -> str:
    left_out = (
        ""
        if rarefy_depth is None
        else f"<p>Samples with fewer than {rarefy_depth:,} reads are not included.</p>"
    )
    figures = "\n".join(map(_figure, plots))
    return f'<h2>Plots</h2>\n{left_out}<section class="plots">{figures}</section>'


def _figure(plot: Plot) -> str:
    data = base64.b64encode(plot.svg.encode()).decode()
    return (
        f'<figure><h3>{escape(plot.title)}</h3><img alt="{escape(plot.title)}. {escape(plot.caption)}" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>{escape(plot.caption)}</figcaption></figure>'
    )


def _limits(summary: Summary, choices: Choices) -> str:
    """Return the table of the reads that each token limit would keep."""
    depth, num_asvs = summary.per_sample("depth"), summary.per_sample("num_asvs")
    chosen = {choices.token_limit: summary.fraction_kept}
    fractions = {limit: summary.fraction_within(limit) for limit in REPORTED_TOKEN_LIMITS} | chosen
    rows = []
    for limit, fraction in sorted(fractions.items()):
        low, middle = np.quantile(fraction, [0.05, 0.5])
        cells = [
            f"{limit:,}",
            f"{int((num_asvs > limit).sum()):,}",
            *map(_percent, (middle, low, fraction.min(), (fraction * depth).sum() / depth.sum())),
        ]
        rows.append((cells, "chosen" if limit in chosen else ""))
    heads = (
        "token limit",
        "samples with more ASVs",
        "median sample",
        "95% of samples keep at least",
        "sample that keeps least",
        "all samples together",
    )
    note = "<p>The table shows the fraction of reads that each token limit would keep.</p>"
    return f"<h2>Token limits</h2>\n{note}" + _table(heads, rows)


def _percent(fraction: float) -> str:
    """Return a percentage rounded down, so that 100 % means all reads."""
    return f"{np.floor(fraction * 1000) / 10:.1f}%"


def _ids(facts: dict[str, Any]) -> str:
    rows = []
    for overlap in facts.get("ids", ()):
        lists = [overlap[name] for name in ("both", "only_here", "only_there")]
        counts = [f"{ids['count']:,}{_example(ids['first_ids'])}" for ids in lists]
        noun = overlap["noun"]
        label = escape(f"{noun[0].upper()}{noun[1:]} of the table and of {overlap['there']}")
        rows.append(([label, *counts], ""))
    heads = ("ids", "in both", "only in the table", "only in the other file")
    return "<h2>Ids</h2>\n" + _table(heads, rows) if rows else ""


def _example(ids: list[str]) -> str:
    if not ids:
        return ""
    shown = ids[0] if len(ids[0]) <= 36 else f"{ids[0][:30]}..."
    return f' <span class="dim">such as <code>{escape(shown)}</code></span>'


def _inputs(facts: dict[str, Any]) -> str:
    rows = [
        (
            [
                escape(file["role"]),
                f"<code>{escape(file['name'])}</code><br>{escape(file['kind'])}",
                f"{file['bytes']:,}",
                f"<code>{file['sha256']}</code>"
                + (f"<br>UUID <code>{escape(file['uuid'])}</code>" if file["uuid"] else ""),
            ],
            "",
        )
        for file in facts.get("inputs", ())
    ]
    return "<h2>Files</h2>\n" + _table(("role", "file", "bytes", "sha256"), rows) if rows else ""


def _checked(findings: Findings) -> str:
    held = "".join(
        f"<li><code>{rule.code}</code>: {escape(rule.requirement)}</li>" for rule in findings.passed
    )
    not_checked = "".join(
        f"<li>{escape(reason)}: {', '.join(f'<code>{code}</code>' for code in codes)}</li>"
        for reason, codes in why_not_checked(findings).items()
    )
    details = [
        _details(f"{len(findings.passed)} rules were checked without a finding", held),
        _details(f"{len(findings.not_checked)} rules were not checked", not_checked, " open"),
    ]
    return "<h2>Rules without a finding</h2>\n" + "\n".join(details) if any(details) else ""


def _details(title: str, items: str, state: str = "") -> str:
    return f"<details{state}><summary>{title}</summary><ul>{items}</ul></details>" if items else ""


def _footer(prepared: Prepared | None) -> str:
    made_with = ""
    if prepared is not None:
        depth = prepared.choices.rarefy_depth
        limit = f"token limit {prepared.choices.token_limit:,}"
        made_with = f"; {limit}, {'not rarefied' if depth is None else f'rarefied to {depth:,} reads'}"
    return (
        f"<footer>aamprep {version('aamprep')}{made_with}. "
        "The same input always gives the same page, byte for byte.</footer>"
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[list[str], str]]) -> str:
    """Return an HTML table. A row is a list of HTML cells and the class of the row."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for cells, kind in rows
    )
    return f'<div class="sheet"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
