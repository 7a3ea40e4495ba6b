"""Reporting: what people read. Reports, pages, cards and plots from values and files given to it; never the store."""
