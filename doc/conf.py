"""Configuration of Sphinx, and the directive that prints the table of a task's life."""
import os
import sys

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, os.path.abspath('..'))

import worq  # noqa: E402
from worq import const  # noqa: E402

project = 'WorQ'
copyright = 'the WorQ authors'
version = release = worq.__version__

extensions = ['sphinx.ext.autodoc']
exclude_patterns = ['_build', 'reliability_figures.rst']   # a part of reliability.rst
default_role = 'py:obj'
html_theme = 'furo'
html_title = f'WorQ {version}'
html_show_sourcelink = False

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'


class Life(SphinxDirective):
    """``.. life::`` prints `worq.const.TRANSITIONS`, so that law and picture cannot part."""

    def run(self):
        table = nodes.table()
        group = nodes.tgroup(cols=3)
        table += group
        for width in (15, 50, 15):
            group += nodes.colspec(colwidth=width)
        group += (head := nodes.thead())
        group += (body := nodes.tbody())
        head += self.row(('from', 'what happens', 'to'))
        body += [self.row(line) for line in const.TRANSITIONS]
        return [table]

    def row(self, texts):
        row = nodes.row()
        for text in texts:
            row += nodes.entry('', nodes.paragraph(text=text))
        return row


def setup(app):
    app.add_directive('life', Life)
    return {'parallel_read_safe': True}
