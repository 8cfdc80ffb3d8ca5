"""The page of a training's report: one file, no script, nothing that is loaded from elsewhere."""

TEMPLATE = """\
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
  @media print { body { margin: 0; max-width: none; } figure, table, pre { break-inside: avoid; } }
</style>
</head>
<body>
<h1>{{ report.title }}</h1>
<p class="about">{{ report.about }}</p>
<p class="verdict {{ 'good' if report.good else 'poor' }}">{{ report.verdict }}</p>

<h2>Dates</h2>
<div class="wide"><table>
<tr><th>part</th><th>first</th><th>last</th><th>samples</th></tr>
{% for part in report.parts %}
<tr><td>{{ part.name }}</td><td>{{ part.first }}</td><td>{{ part.last }}</td>
<td>{{ "{:,}".format(part.samples) }}</td></tr>
{% endfor %}
</table></div>

<h2>Measures on the test dates</h2>
<div class="wide"><table class="numbers">
<tr>{% for name in report.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in report.measures %}
<tr{% if loop.first %} class="primary"{% endif %}>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% for note in report.notes %}<p class="about">{{ note }}</p>{% endfor %}

<h2>Plots</h2>
{% for figure in report.figures %}
<figure>
<img src="data:image/svg+xml;base64,{{ figure.base64 }}" alt="{{ figure.caption }}">
<figcaption>{{ figure.caption }}</figcaption>
</figure>
{% endfor %}

<h2>Facts</h2>
<div class="wide"><table>
{% for name, value in report.facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>

<h2>The same training again</h2>
<p>{{ report.how }}</p>
<pre>{{ report.configuration }}</pre>
<pre>{{ report.command }}</pre>
</body>
</html>
"""
