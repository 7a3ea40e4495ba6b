"""Plots, drawn without a plotting library; an SVG's colours are the page's custom properties."""
