// From uint8 images to the first layer's input: parameters, launch choice and launch. Kernel and its contract:
// augment.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/row_grid.h"

namespace alexnet {

struct AugmentParams {
  const uint8_t* images;    // [N, H, W, 3] RGB
  const int64_t* top;       // [N], in device memory like all that differs between images
  const int64_t* left;      // [N]
  const uint8_t* mirrored;  // [N], 0 or 1
  const float* shift;       // [N, 3], added to the RGB values
  void* y;                  // [N, size, size, channels]
  int64_t count;            // N
  int height, width;
  int size;
  int channels;            // 3, or 4 with a last one of zeros
  double mean[3], std[3];  // RGB
  bool reverse_channels;   // BGR
  DType dtype;
};

struct AugmentProblem {
  int64_t images;
  int size;
  int channels;
  int element_bytes;
  bool aligned;  // y is a multiple of 16 bytes
};

struct AugmentConfig {
  int vector;  // elements of y a thread writes
  RowConfig row;
  int64_t packs;  // of an image
};

inline AugmentConfig augment_config(const AugmentProblem& problem) {
  AugmentConfig config{};
  config.vector = problem.aligned ? 16 / problem.element_bytes : 1;
  const int64_t elements = int64_t{problem.size} * problem.size * problem.channels;
  // Vectors lie on multiples of 16 bytes of the whole tensor, so an image's first may begin in the image before.
  config.packs = (elements + 2 * (config.vector - 1)) / config.vector;
  config.row = row_config({problem.images, config.packs});
  return config;
}

void launch_augment(const AugmentParams& params, cudaStream_t stream);

}  // namespace alexnet
