"""The report: one HTML page over the marts, and its main charts as small pictures.

`figures` computes the numbers from the marts, `charts` draws them, and `page` assembles the page. The package reads
and writes no tables and never imports dagster. It imports jinja2 and vl_convert, which are slow to import, only where
it renders a page.
"""
