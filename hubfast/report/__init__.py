"""Self-contained HTML reports: a page of sections, and the sections of a ranking."""

from hubfast.report.page import Section, write_page
from hubfast.report.ranking import ranking_sections, write_ranking

__all__ = ["Section", "ranking_sections", "write_page", "write_ranking"]
