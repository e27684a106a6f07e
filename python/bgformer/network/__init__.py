"""The torch module: two heads, the attention of cells to anchors, and the losses."""
