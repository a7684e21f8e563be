// FC layers: y [N, out] = x [N, in] weight [out, in]^T, and its gradients. A product's columns are the outputs in
// fprop, the inputs in dgrad and wgrad; what is added up are its products.
#pragma once

#include <cstddef>

#include "gemm/activation.h"
#include "ops/sgd.h"

namespace alexnet::cpu {

struct LinearShape {
  int N, columns, products;
  ptrdiff_t weight_pitch;
};

struct LinearFpropParams {
  int N, in, out;
  ptrdiff_t x_pitch, weight_pitch, y_pitch;
  const float *x, *weight;
  const float *addend, *bias;  // null: none; addend lies as y
  float* y;
  Activation activation;
};

struct LinearDgradParams {
  int N, in, out;
  ptrdiff_t dy_pitch, weight_pitch, dx_pitch;
  const float *dy, *weight;
  const float *addend, *mask;  // null: none; they lie as dx
  float mask_scale;
  float* dx;
};

struct LinearWgradParams {
  int N, in, out;
  ptrdiff_t x_pitch, dy_pitch, weight_pitch;
  const float *x, *dy;
  float *dweight, *dbias;  // null: not wanted
  bool accumulate;
  Sgd sgd;
};

}  // namespace alexnet::cpu
