"""The report: one HTML page over the marts, for people, and its main charts as small pictures.

`figures` takes what is shown from the marts, `charts` draws it, `page` puts it together. Nothing is read or written
here, and dagster is never imported; jinja2 and vl_convert are slow to import and imported when a page is made.
"""
