"""`python -m vqa_pipeline.cli`: the same as `vqa-pipeline`."""

from vqa_pipeline.cli import main

main()
