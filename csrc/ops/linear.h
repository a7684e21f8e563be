// Fully connected layer y = activation(x weight^T + bias): parameters and launches.
//
// It is the convolution of 1 x 1 images with 1 x 1 filters, and runs on that one's kernels (conv2d.cuh); for batches of
// up to 256 the splits of the reduction fill the device. Types as in conv2d.h: bias and gradients float32.
#pragma once

#include <cstdint>

#include "ops/conv2d.h"

namespace alexnet {

// Pitches are numbers from one row to the next, so that an operand may be a range of a wider matrix's columns; 0:
// dense.
struct LinearProblem {
  int rows, in, out;
  int x_pitch, y_pitch, weight_pitch;
  Precision precision;
};

struct LinearFpropParams {
  LinearProblem problem;
  const void* x;        // [rows, in]
  const void* weight;   // [out, in]
  const float* bias;    // [out]; null: none
  const float* addend;  // [rows, out] float32, added before the activation; may be y; null: none
  void* y;              // [rows, out]
  bool y_float;
  Activation activation;
  Dropout dropout;  // of y, after the activation; null step: none
  void* workspace;
};

struct LinearDgradParams {
  LinearProblem problem;
  const void* dy;       // [rows, out]
  const void* weight;   // [out, in]
  const void* mask;     // [rows, in], the output of the ReLU before: dx is 0 where it is not positive; null: none
  float mask_scale;     // of dx where mask is positive; as in conv2d.h
  const float* addend;  // [rows, in] float32
  void* dx;             // [rows, in]
  bool dx_float;
  void* workspace;
};

struct LinearWgradParams {
  LinearProblem problem;
  const void* x;    // [rows, in]
  const void* dy;   // [rows, out]
  float* dweight;   // [out, in]; null: not wanted, where sgd has weights
  float* dbias;     // [out]; null: not wanted; needs dy dense and on 16 bytes
  bool accumulate;  // add to dweight instead of overwriting it, without sgd; dbias is overwritten
  Sgd sgd;          // as in conv2d.h
  void* workspace;
};

inline Conv2dProblem linear_as_conv2d(const LinearProblem& problem) {
  return {problem.rows,
          1,
          1,
          problem.in,
          problem.out,
          1,
          1,
          1,
          1,
          0,
          0,
          1,
          problem.x_pitch,
          problem.y_pitch,
          problem.weight_pitch,
          problem.precision,
          false};
}

int64_t linear_workspace_bytes(const LinearProblem& problem, Direction direction);

void launch_linear_fprop(const LinearFpropParams& params, cudaStream_t stream);
void launch_linear_dgrad(const LinearDgradParams& params, cudaStream_t stream);
void launch_linear_wgrad(const LinearWgradParams& params, cudaStream_t stream);

}  // namespace alexnet
