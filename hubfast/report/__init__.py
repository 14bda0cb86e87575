"""Self-contained HTML reports: of a ranking, of a hub's pathways, of a tuned model."""

from hubfast.report.page import Section, write_page
from hubfast.report.pathway import pathway_sections, write_pathway
from hubfast.report.ranking import ranking_sections, write_ranking
from hubfast.report.tuning import write_tuning

__all__ = [
    "Section",
    "pathway_sections",
    "ranking_sections",
    "write_page",
    "write_pathway",
    "write_ranking",
    "write_tuning",
]
