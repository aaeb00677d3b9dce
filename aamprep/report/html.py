"""The report of a validation as one page that opens without a network."""

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
from aamprep.report.documents import EXAMPLES_PER_RULE, Prepared, shortened, tally, verdict, why_not_checked
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
"""Style of the report's own parts; the rest is that of all pages."""


def as_html(
    title: str, task: str, findings: Findings, facts: dict[str, Any], prepared: Prepared | None
) -> bytes:
    """Return a report as a page; see `aamprep.report.report.Report` for the parameters."""
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


def _header(title: str, task: str, findings: Findings, figures: dict[str, Any]) -> str:
    words = verdict(findings).capitalize()
    left_out = figures.get("samples_read", 0) - figures.get("samples_valid", 0)
    if left_out:
        words += f": {left_out:,} of {figures['samples_read']:,} samples would be rejected"
    kind = "valid" if findings.valid else "invalid"
    return (
        f'<header class="{kind}"><p>{escape(task)} of</p><h1>{escape(title)}</h1>'
        f'<p class="verdict">{escape(words)}</p><p>{escape(tally(findings))}</p></header>'
    )


def _cards(figures: dict[str, Any], choices: Choices) -> str:
    if not figures:
        return ""
    valid = figures.get("samples_valid", 0)
    cards = [
        ("samples", f"{valid:,}", f"valid, of {figures['samples_read']:,}"),
        ("ASVs", f"{figures['asvs_read']:,}", "distinct sequences"),
    ]
    for name, words in (("depth", "reads per sample"), ("num_asvs", "ASVs per sample")):
        if name in figures:
            low, middle, high = (figures[name][key] for key in ("min", "median", "max"))
            cards.append((words, f"{middle:,.0f}", f"median; {low:,.0f} to {high:,.0f}"))
    if valid:
        share = figures["median_share_of_reads_kept"]
        cards.append(("reads kept", f"{share:.1%}", f"median, at a token limit of {choices.token_limit:,}"))
    each = (f"<div>{label}<b>{number}</b><small>{more}</small></div>" for label, number, more in cards)
    return f'<section class="cards">{"".join(each)}</section>'


def _findings(findings: Findings) -> str:
    if not findings.found:
        return "<h2>Findings</h2>\n<p>None.</p>"
    by_rule: dict[Rule, list[Finding]] = {rule: [] for rule in findings.counts()}
    for one in findings.found:
        by_rule[one.rule].append(one)
    return "<h2>Findings</h2>\n" + "\n".join(_article(rule, found) for rule, found in by_rule.items())


def _article(rule: Rule, found: list[Finding]) -> str:
    examples = "".join(f"<li><code>{escape(shortened(one))}</code></li>" for one in found[:EXAMPLES_PER_RULE])
    more = len(found) - EXAMPLES_PER_RULE
    if more > 0:
        everywhere = "<code>--json</code> and <code>--findings</code> give all"
        examples += f'<li class="dim">and {more:,} more ({everywhere})</li>'
    times = f' <span class="dim">&times; {len(found):,}</span>' if len(found) > 1 else ""
    return (
        f'<article class="{rule.severity.value}"><h3><span class="tag">{rule.severity.value}</span>'
        f"<code>{escape(rule.code)}</code>{times}</h3>"
        f"<p>Should be: {escape(rule.requirement)}.</p><ul>{examples}</ul>"
        f"<p><b>To do:</b> {_with_code(rule.fix)}.</p></article>"
    )


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _plots(plots: list[Plot], rarefy_depth: int | None) -> str:
    left_out = "" if rarefy_depth is None else f"<p>Without the samples below {rarefy_depth:,} reads.</p>"
    figures = "\n".join(map(_figure, plots))
    return f'<h2>Pictures</h2>\n{left_out}<section class="plots">{figures}</section>'


def _figure(plot: Plot) -> str:
    data = base64.b64encode(plot.svg.encode()).decode()
    return (
        f'<figure><h3>{escape(plot.title)}</h3><img alt="{escape(plot.title)}. {escape(plot.caption)}" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>{escape(plot.caption)}</figcaption></figure>'
    )


def _limits(summary: Summary, choices: Choices) -> str:
    """Write the table of what each token limit would keep."""
    depth, num_asvs = summary.per_sample("depth"), summary.per_sample("num_asvs")
    chosen = {choices.token_limit: summary.share_kept}
    shares = {limit: summary.share_within(limit) for limit in REPORTED_TOKEN_LIMITS} | chosen
    rows = []
    for limit, share in sorted(shares.items()):
        low, middle = np.quantile(share, [0.05, 0.5])
        cells = [
            f"{limit:,}",
            f"{int((num_asvs > limit).sum()):,}",
            *map(_percent, (middle, low, share.min(), (share * depth).sum() / depth.sum())),
        ]
        rows.append((cells, "chosen" if limit in chosen else ""))
    heads = (
        "token limit",
        "samples cut",
        "median sample keeps",
        "19 of 20 keep at least",
        "worst keeps",
        "of all reads",
    )
    return "<h2>Token limits</h2>\n" + _table(heads, rows)


def _percent(share: float) -> str:
    """Round down, so that 100 % means all reads."""
    return f"{np.floor(share * 1000) / 10:.1f}%"


def _ids(figures: dict[str, Any]) -> str:
    rows = []
    for one in figures.get("ids", ()):
        lists = [one[name] for name in ("both", "only_here", "only_there")]
        counts = [f"{each['count']:,}{_example(each['first_ids'])}" for each in lists]
        rows.append(
            ([f"{one['noun'][0].upper()}{one['noun'][1:]} of the table and of {one['there']}", *counts], "")
        )
    heads = ("ids", "in both", "only in the table", "only in the other")
    return "<h2>Ids</h2>\n" + _table(heads, rows) if rows else ""


def _example(ids: list[str]) -> str:
    if not ids:
        return ""
    shown = ids[0] if len(ids[0]) <= 36 else f"{ids[0][:30]}..."
    return f' <span class="dim">such as <code>{escape(shown)}</code></span>'


def _inputs(figures: dict[str, Any]) -> str:
    rows = [
        (
            [
                escape(one["role"]),
                f"<code>{escape(one['name'])}</code><br>{escape(one['kind'])}",
                f"{one['bytes']:,}",
                f"<code>{one['sha256']}</code>"
                + (f"<br>UUID <code>{escape(one['uuid'])}</code>" if one["uuid"] else ""),
            ],
            "",
        )
        for one in figures.get("inputs", ())
    ]
    return "<h2>Files</h2>\n" + _table(("role", "file", "bytes", "sha256"), rows) if rows else ""


def _checked(findings: Findings) -> str:
    held = "".join(
        f"<li><code>{rule.code}</code>: {escape(rule.requirement)}</li>" for rule in findings.passed
    )
    not_checked = "".join(
        f"<li>because {escape(reason)}: {', '.join(f'<code>{code}</code>' for code in codes)}</li>"
        for reason, codes in why_not_checked(findings).items()
    )
    details = [
        _details(f"{len(findings.passed)} rules were checked and found nothing", held),
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
        made_with = f"; {limit}, rarefaction depth {'none' if depth is None else f'{depth:,}'}"
    return (
        f"<footer>aamprep {version('aamprep')}{made_with}. "
        "The same input gives the same page, byte for byte.</footer>"
    )


def _table(heads: Iterable[str], rows: Iterable[tuple[list[str], str]]) -> str:
    """Write a table; a row is its cells, as HTML, and its class."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for cells, kind in rows
    )
    return f'<div class="sheet"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
