// Grouped 2-D convolution: parameters and launches. Kernels and their contracts: conv2d.cuh; launch choice:
// conv2d_plan.h.
//
// y[n, p, q, k] = bias[k] + sum over r, s, c of x[n, p stride - padding + r, q stride - padding + s, c] weight[k, r, s,
// c], the sum over the channels of k's group. Types: x, y, dy, dx and weight of the precision's type; bias float32 (the
// optimiser's own copy: K elements need no smaller type); gradients of weight and bias float32, for the float32 weights
// that the optimiser keeps.
#pragma once

#include <cstdint>

#include "common/cuda_runtime.h"
#include "common/dtype.h"
#include "gemm/activation.h"
#include "ops/conv2d_plan.h"
#include "ops/dropout.h"
#include "ops/sgd.h"

namespace alexnet {

struct Conv2dFoldParams {
  FoldShape shape;
  const void* tensor;  // [N, H, W, C]
  void* folded;        // [N, folded_h, folded_w, folded_c] on 16 bytes, folded_c whole 16 bytes
  DType dtype;
};

struct Conv2dFpropParams {
  Conv2dProblem problem;
  const void* x;       // [N, H, W, C], or folded: x_fold_shape, on 16 bytes
  const void* weight;  // [K, R, S, C / groups]
  const float* bias;   // [K]; null: none
  // [N, P, Q, K] float32, added before the activation; null: none. With y_float and y as the next call's addend the
  // parts of a sum over channels that arrive one after the other are chained unrounded; y may be addend.
  const float* addend;
  void* y;  // [N, P, Q, K]
  bool y_float;
  Activation activation;
  Dropout dropout;  // of y as a matrix [N * P * Q, K], after the activation; null step: none
  void* workspace;
};

struct Conv2dDgradParams {
  Conv2dProblem problem;
  const void* dy;      // [N, P, Q, K]
  const void* weight;  // [K, R, S, C / groups]
  const void* mask;    // [N, H, W, C], the output of the ReLU before: dx is 0 where it is not positive; null: none
  // Of dx where mask is positive. With ReLU and then dropout before, mask is what the dropout wrote, positive where
  // both let the gradient pass, and this is the dropout's scale.
  float mask_scale;
  const float* addend;  // [N, H, W, C] float32; as in fprop
  void* dx;             // [N, H, W, C]
  bool dx_float;
  void* workspace;
};

struct Conv2dWgradParams {
  Conv2dProblem problem;
  const void* x;    // as in fprop
  const void* dy;   // [N, P, Q, K]
  float* dweight;   // [K, R, S, C / groups]; null: not wanted, where sgd has weights
  float* dbias;     // [K]; null: not wanted; needs dy dense and on 16 bytes
  bool accumulate;  // add to dweight instead of overwriting it, without sgd; dbias is overwritten
  Sgd sgd;          // the step with dweight, laid out like it; copy of the precision's type; null weights: none
  void* workspace;
};

// For every alignment of the tensors.
int64_t conv2d_workspace_bytes(const Conv2dProblem& problem, Direction direction);

// Plans that this process has made.
int64_t conv2d_plan_count();

void launch_conv2d_fold(const Conv2dFoldParams& params, cudaStream_t stream);
void launch_conv2d_fprop(const Conv2dFpropParams& params, cudaStream_t stream);
void launch_conv2d_dgrad(const Conv2dDgradParams& params, cudaStream_t stream);
void launch_conv2d_wgrad(const Conv2dWgradParams& params, cudaStream_t stream);

}  // namespace alexnet
