"""The link from an estimator's picture, in a notebook, to its documentation."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata


@cache
def documentation_url() -> str:
    """Where the installed package says that its documentation is: Project-URL "Documentation"; empty where it does not.

    >>> documentation_url().startswith(("http", "file")) or documentation_url() == ""
    True
    """
    try:
        entries = metadata("torchlogit").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    urls = (entry.partition(",") for entry in entries)
    return next((url.strip() for label, _, url in urls if label.strip().lower() == "documentation"), "")


class DocumentationLink:
    """What scikit-learn asks for to draw a link: the module it holds for, and a template. No link without a URL."""

    @property
    def _doc_link_module(self) -> str:
        return "torchlogit" if documentation_url() else ""

    @property
    def _doc_link_template(self) -> str:
        return f"{documentation_url().rstrip('/')}/estimator.html"
