// SGD with momentum and weight decay: parameters and launch. Kernel and its contract: sgd.cuh.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"

namespace alexnet {

// The weights that a gradient moves, and how far.
struct Sgd {
  float* weights;              // the master copy, of the gradient's shape and pitch, like the others
  float* velocity;             // float32 too
  void* copy;                  // the weights rounded for the next step's kernels; null: none
  const float* learning_rate;  // [1] in device memory, so that a captured graph follows the schedule when replayed
  float rate_factor;           // the learning rate is multiplied by it (2 for biases)
  float momentum;
  float weight_decay;
  float gradient_scale;  // the gradient is multiplied by it (the inverse of a loss scale)
};

struct SgdParams {
  Sgd sgd;               // tensors of [count]
  const void* gradient;  // [count] of gradient_dtype
  int64_t count;
  DType gradient_dtype;
  DType copy_dtype;  // kBFloat16 or kFloat16
};

void launch_sgd(const SgdParams& params, cudaStream_t stream);

}  // namespace alexnet
