// Max-pooling: parameters, launch choice and launches. Kernels and their contracts: max_pool.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/row_grid.h"

namespace alexnet {

// Window (p, q) begins at row p * stride - padding_h and column q * stride - padding_w. Of what lies outside of the
// input nothing is read; every window has a part inside.
struct PoolShape {
  int64_t images;
  int height, width, channels;
  int size, stride, padding_h, padding_w;
  int out_height, out_width;

  // Whether a window reaches beyond the input.
  bool clipped() const {
    return padding_h > 0 || padding_w > 0 || (out_height - 1) * stride + size > height ||
           (out_width - 1) * stride + size > width;
  }
  int64_t input_elements() const { return int64_t{height} * width * channels; }           // of an image
  int64_t output_elements() const { return int64_t{out_height} * out_width * channels; }  // of an image
};

// The argmax, row * size + column within the window, padding included, is a byte.
constexpr int kMaxPoolSize = 15;

struct MaxPoolFpropParams {
  const void* x;    // [N, H, W, C]
  void* y;          // [N, P, Q, C]
  uint8_t* argmax;  // [N, P, Q, C]; null: not wanted
  PoolShape shape;
  DType dtype;
};

struct MaxPoolBpropParams {
  const void* dy;         // [N, P, Q, C]
  const uint8_t* argmax;  // [N, P, Q, C]
  const void* y;          // [N, P, Q, C], the pool's output: the gradient passes where it is positive; null: everywhere
  void* dx;               // [N, H, W, C]
  PoolShape shape;
  DType dtype;
};

struct PoolProblem {
  PoolShape shape;
  int element_bytes;
  bool aligned;  // every pointer is a multiple of 16 bytes
};

struct PoolConfig {
  int vector;  // channels a thread takes
  RowConfig row;
};

inline PoolConfig pool_config(const PoolProblem& problem, int64_t image_elements) {
  const int widest = 16 / problem.element_bytes;
  PoolConfig config{};
  config.vector = problem.aligned && problem.shape.channels % widest == 0 ? widest : 1;
  config.row = row_config({problem.shape.images, image_elements / config.vector});
  return config;
}

// A thread for each pack of the output, which it writes once and never reads: of y, and of dx.
inline PoolConfig pool_fprop_config(const PoolProblem& problem) {
  return pool_config(problem, problem.shape.output_elements());
}
inline PoolConfig pool_bprop_config(const PoolProblem& problem) {
  return pool_config(problem, problem.shape.input_elements());
}

void launch_max_pool_fprop(const MaxPoolFpropParams& params, cudaStream_t stream);
void launch_max_pool_bprop(const MaxPoolBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
