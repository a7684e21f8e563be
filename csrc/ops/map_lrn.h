// Local response normalisation within a map: parameters, launch choice and launches. Kernels and their contracts:
// map_lrn.cuh.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/row_grid.h"

namespace alexnet {

struct MapLrnShape {
  int64_t images;
  int height, width, channels;
  int size;  // odd, at most kMapLrnMaxSize
  float k;
  float alpha;  // of the sum of squares itself
  float beta;

  int half() const { return size / 2; }
  int64_t image_elements() const { return int64_t{height} * width * channels; }
};

struct MapLrnFpropParams {
  const void* x;  // [N, H, W, C]
  void* y;        // [N, H, W, C], not x
  MapLrnShape shape;
  DType dtype;
};

struct MapLrnBpropParams {
  const void* dy;  // [N, H, W, C]
  const void* x;   // [N, H, W, C]
  void* dx;        // [N, H, W, C], neither x nor dy
  MapLrnShape shape;
  DType dtype;
};

// Rows of a column whose window sums a thread forms together: they have most of their rows in common, so that a window
// of 5 takes 8 / 4 rows an output instead of 5.
constexpr int kMapLrnRun = 4;
// The backward kernel's tile: rows and columns, of which two of 14 cover a map of 27 (conv2's), and channels, 32 bytes
// of 16-bit numbers.
constexpr int kMapLrnTile = 14;
constexpr int kMapLrnChannels = 16;
constexpr int kMapLrnThreads = 256;
// What a tile and its surroundings take of shared memory is then 98.75 KiB; sm_86, sm_89 and sm_120 have 99.
constexpr int kMapLrnMaxSize = 9;

struct MapLrnProblem {
  MapLrnShape shape;
  int element_bytes;
  bool aligned;  // every pointer is a multiple of 16 bytes
};

struct MapLrnConfig {
  int vector;  // channels a thread normalises
  RowConfig row;
  int64_t packs;  // of an image
  size_t shared_bytes;
};

// Side of what the windows of a tile reach, and the windows of all that is in those.
inline int map_lrn_middle(int half) {
  return kMapLrnTile + 2 * half;
}
inline int map_lrn_extent(int half) {
  return kMapLrnTile + 4 * half;
}

inline MapLrnConfig map_lrn_fprop_config(const MapLrnProblem& problem) {
  const MapLrnShape& shape = problem.shape;
  MapLrnConfig config{};
  const int widest = 16 / problem.element_bytes;
  config.vector = problem.aligned && shape.channels % widest == 0 ? widest : 1;
  const int64_t runs = (shape.height + kMapLrnRun - 1) / kMapLrnRun;
  config.packs = runs * shape.width * (shape.channels / config.vector);
  config.row = row_config({shape.images, config.packs});
  return config;
}

inline MapLrnConfig map_lrn_bprop_config(const MapLrnProblem& problem) {
  const MapLrnShape& shape = problem.shape;
  MapLrnConfig config{};
  config.vector = 1;
  const auto parts = [](int extent, int part) { return (int64_t{extent} + part - 1) / part; };
  const int64_t tiles = parts(shape.height, kMapLrnTile) * parts(shape.width, kMapLrnTile);
  config.packs = tiles * parts(shape.channels, kMapLrnChannels) * kMapLrnThreads;
  config.row = row_config({shape.images, config.packs}, kMapLrnThreads);
  const int64_t middle = map_lrn_middle(shape.half()), extent = map_lrn_extent(shape.half());
  config.shared_bytes = sizeof(float) * kMapLrnChannels *
                        static_cast<size_t>(extent * extent + middle * middle + kMapLrnTile * kMapLrnTile);
  return config;
}

void launch_map_lrn_fprop(const MapLrnFpropParams& params, cudaStream_t stream);
void launch_map_lrn_bprop(const MapLrnBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
