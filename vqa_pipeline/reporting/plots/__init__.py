"""Plots, drawn without a plotting library. Colours of SVGs are custom properties of the page: light or dark."""
