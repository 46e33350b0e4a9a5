"""Reads a folder's event files with TensorBoard's own reader, and prints what they hold as JSON."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# 0: keep all of them.
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags["scalars"]},
    "images": {
        tag: [[image.step, image.width, image.height, image.encoded_image_string[:8].hex()] for image in events.Images(tag)]
        for tag in tags["images"]
    },
}))
