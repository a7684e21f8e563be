"""Pages with their pictures inside, and the pictures: what studies, runs and `alexnet-cuda show` leave to look at."""
