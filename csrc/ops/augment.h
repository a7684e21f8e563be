// From uint8 images to the first layer's input: parameters, launch choice and launch. Kernel and its contract:
// augment.cuh.
#pragma once

#include <cstdint>
#include <numeric>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/row_grid.h"
#include "ops/conv2d_fold.h"

namespace alexnet {

struct AugmentParams {
  const uint8_t* images;    // [N, H, W, 3] RGB
  const int64_t* top;       // [N], in device memory like all that differs between images
  const int64_t* left;      // [N]
  const uint8_t* mirrored;  // [N], 0 or 1
  const float* shift;       // [N, 3], added to the RGB values
  void* y;                  // [N, size, size, channels], or folded: [N, folded_h, folded_w, folded_c] on 16 bytes
  int height, width;        // of an image
  int channels;             // 3, or 4 with a last one of zeros, not folded
  FoldShape shape;          // of y: unfolded_view, or what the convolution takes
  double mean[3], std[3];   // RGB
  bool reverse_channels;    // BGR
  DType dtype;
};

// Views [count, size, size, channels] as they are: of one cell each, as large as the view.
inline FoldShape unfolded_view(int count, int size, int channels) {
  return {count, size, size, 3, size, size, 0, 0, 1, 1, size * size * channels};
}

struct AugmentProblem {
  int64_t images;
  int64_t elements;  // of y, an image
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
  // Vectors are on multiples of 16 bytes of the whole tensor: where an image is not a multiple of a vector, its first
  // may begin in the image before.
  const int64_t before = config.vector - std::gcd(problem.elements, int64_t{config.vector});
  config.packs = (problem.elements + before + config.vector - 1) / config.vector;
  config.row = row_config({problem.images, config.packs});
  return config;
}

void launch_augment(const AugmentParams& params, cudaStream_t stream);

}  // namespace alexnet
