"""The torch module: two heads, attention from cells to anchors, and the losses."""
