"""The page of a training's report, below its head."""

TEMPLATE = """\
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
