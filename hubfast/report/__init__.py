"""Self-contained HTML reports: a page of sections, those of a ranking and of a tuned model."""

from hubfast.report.page import Section, write_page
from hubfast.report.ranking import ranking_sections, write_ranking
from hubfast.report.tuning import write_tuning

__all__ = ["Section", "ranking_sections", "write_page", "write_ranking", "write_tuning"]
