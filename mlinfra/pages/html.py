"""Pages of reports: one HTML file each, no script, nothing that is loaded from elsewhere."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>
  :root { color-scheme: light; }
  body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 60rem;
         margin: 2rem auto; padding: 0 1.25rem; }
  h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
  h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #dfe4ea; padding-bottom: .25rem; }
  .about { color: #5a6673; margin: .2rem 0 1.2rem; overflow-wrap: anywhere; }
  .verdict { border-left: 4px solid; padding: .7rem 1rem; border-radius: 4px; font-size: 1.05rem; }
  .good { border-color: #2e7d32; background: #eef7ee; }
  .poor { border-color: #b3541e; background: #fdf3ec; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; }
  th, td { text-align: left; vertical-align: top; padding: .3rem 1.4rem .3rem 0;
           border-bottom: 1px solid #edf0f3; }
  td { overflow-wrap: anywhere; }
  .numbers td + td, .numbers th + th { text-align: right; font-variant-numeric: tabular-nums; }
  .numbers tr.primary td { font-weight: 600; }
  figure { margin: 1.2rem 0; }
  img { max-width: 100%; height: auto; }
  figcaption { color: #5a6673; font-size: .9rem; }
  pre { background: #f5f7f9; padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; font-size: .85rem; }
  details { margin: .3rem 0; }
  summary { cursor: pointer; color: #1f5fa8; }
  @media print { body { margin: 0; max-width: none; } figure, table, pre { break-inside: avoid; } }
</style>
</head>
"""


def rendered_page(body: str, report: object) -> str:
    """A page of a report, every text in it escaped.

    Args:
        body: template of what follows the head; it reads ``report``.
        report: what the page shows; its ``title`` stands in the head.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(HEAD + body).render(report=report)


def svg_base64(figure: "Figure") -> str:
    """A figure as SVG in base64."""
    content = io.BytesIO()
    # Without a date the same figure gives the same text.
    figure.savefig(content, format="svg", metadata={"Date": None})
    return base64.b64encode(content.getvalue()).decode("ascii")
