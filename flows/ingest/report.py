"""What an ingestion came to: what is new, for the page of a run and for the command."""

from larder.report import Report

DEPARTMENT_REPORT = Report()
CATEGORY_REPORT = Report()
