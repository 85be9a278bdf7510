"""The page: one module per page, each with a template of its name. The modules of acts share `act.html`.

A module reads at most five statements, has `piko.web.views` say what is shown, and renders it. Every page is
whole without JavaScript: filters are forms, acts are forms, and htmx only renews what has changed.
"""
