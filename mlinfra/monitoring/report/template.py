"""The page of a drift report, below its head."""

TEMPLATE = """\
<body>
<h1>{{ report.title }}</h1>
<p class="about">{{ report.about }}</p>
<p class="verdict {{ 'good' if report.good else 'poor' }}">{{ report.verdict }}</p>
{% for note in report.notes %}<p class="about">{{ note }}</p>{% endfor %}

{% macro table(shown) %}
<div class="wide"><table class="numbers">
<tr>{% for name in shown.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in shown.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endmacro %}
{% macro picture(shown) %}
<figure>
<img src="data:image/svg+xml;base64,{{ shown.base64 }}" alt="{{ shown.alt }}">
<figcaption>{{ shown.caption }}</figcaption>
</figure>
{% endmacro %}
<h2>Features by rank</h2>
{{ picture(report.ranking_picture) }}
{{ table(report.ranking) }}

<h2>Windows</h2>
{{ table(report.windows) }}

{% for section in report.sections %}
<h2>{{ section.title }}</h2>
{% if section.picture %}
{{ picture(section.picture) }}
{% else %}
<p class="about">{{ section.sentence }}</p>
{% endif %}
<details><summary>Numbers</summary>
{{ table(section.cells) }}
{{ table(section.over_time) }}
</details>
{% endfor %}

<h2>Facts</h2>
<div class="wide"><table>
{% for name, value in report.facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>
</body>
</html>
"""
