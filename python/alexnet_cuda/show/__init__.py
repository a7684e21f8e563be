"""What a checkpoint has learned and makes of images, to look at: `alexnet-cuda show`."""
