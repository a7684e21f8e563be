// Local response normalisation across channels: parameters, launch choice and launches. Kernels and their contracts:
// lrn.cuh.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "common/row_grid.h"

namespace alexnet {

struct LrnWindow {
  int channels;
  int groups;  // equal blocks of channels that no window leaves
  int size;    // odd
  float k;
  float alpha;  // of the sum of squares itself
  float beta;

  int length() const { return channels / groups; }
  // Channels to either side that a window can reach.
  int half() const { return std::min(size / 2, length() - 1); }
};

struct LrnFpropParams {
  const void* x;  // [images, pixels, channels]
  void* y;        // [images, pixels, channels], not x
  int64_t images;
  int64_t pixels;
  LrnWindow window;
  DType dtype;
};

struct LrnBpropParams {
  const void* dy;  // [images, pixels, channels]
  const void* x;   // [images, pixels, channels]
  void* dx;        // [images, pixels, channels], neither x nor dy
  int64_t images;
  int64_t pixels;
  LrnWindow window;
  bool relu;  // x is the output of a ReLU: dx is 0 where x is not positive
  DType dtype;
};

struct LrnProblem {
  int64_t images;
  int64_t pixels;
  LrnWindow window;
  int element_bytes;
  bool aligned;  // every pointer is a multiple of 16 bytes
};

struct LrnConfig {
  int vector;  // channels a thread normalises; 1: the kernel for any window
  RowConfig row;
  size_t shared_bytes;
};

// The window that the vector kernels are compiled for: the size of every published AlexNet.
constexpr int kLrnVectorSize = 5;
constexpr int kLrnVectorHalf = kLrnVectorSize / 2;
// Threads of the backward kernel for any window, and how far its tile in shared memory lets a window reach.
constexpr int kLrnTile = 256;
constexpr int kLrnMaxHalf = 1024;

inline LrnConfig lrn_config(const LrnProblem& problem, int pack_bytes) {
  LrnConfig config{};
  const int widest = pack_bytes / problem.element_bytes;
  const bool vectors =
      problem.window.size == kLrnVectorSize && problem.window.length() % widest == 0 && problem.aligned;
  config.vector = vectors ? widest : 1;
  config.row = row_config({problem.images, problem.pixels * problem.window.channels / config.vector});
  return config;
}

inline LrnConfig lrn_fprop_config(const LrnProblem& problem) {
  return lrn_config(problem, 16);
}

inline LrnConfig lrn_bprop_config(const LrnProblem& problem) {
  // 32 bytes a thread: the powers of the window's reach to either side are computed twice, which is 4 of 20 in bfloat16
  // and would be 4 of 12 at 16 bytes, more than the arithmetic that there is time for (docs/kernels/lrn.md).
  LrnConfig config = lrn_config(problem, 32);
  if (config.vector > 1) return config;
  config.row = row_config({problem.images, problem.pixels * problem.window.channels}, kLrnTile);
  config.shared_bytes = sizeof(float) * (3 * kLrnTile + 6 * problem.window.half());
  return config;
}

void launch_lrn_fprop(const LrnFpropParams& params, cudaStream_t stream);
void launch_lrn_bprop(const LrnBpropParams& params, cudaStream_t stream);

}  // namespace alexnet
