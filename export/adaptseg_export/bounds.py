"""What an export, and --verify after it, need of a graph."""

MIN_AGREEMENT = 0.9999
"""Share of pixels that must have fp32's train id: of fp32 on any runtime, where the rest must be ties."""
MIN_AGREEMENT_FP16_WEIGHTS = 0.999
"""The same of the generator's own train ids, where the graph stores rounded weights: they move more than ties."""
MIN_SURE_AGREEMENT = 0.99
"""Of lower precisions, on pixels of which fp32 is sure."""
MIN_MIOU_RATIO = 0.985
"""Of lower precisions: their mIoU against fp32's."""
