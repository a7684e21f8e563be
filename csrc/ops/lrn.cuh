// Local response normalisation (section 3.3 of the AlexNet paper):
//   y[c] = x[c] * s[c]^-beta,  s[c] = k + alpha * sum of x[j]^2 over |j - c| <= size / 2 within c's group
// Groups are contiguous blocks of `length` channels, so a tensor is one long row of segments that no window leaves.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "common/row_grid.h"
#include "common/vector.cuh"
#include "ops/lrn.h"
#include "ptx/rsqrt.cuh"

namespace alexnet {

struct LrnShape {
  FastDivmod length;  // of a segment
  int half;
  float k, alpha, beta;

  explicit LrnShape(const LrnWindow& window)
      : length(window.length()), half(window.half()), k(window.k), alpha(window.alpha), beta(window.beta) {}

  __device__ int column(int element) const { return length.remainder(element, length.quotient(element)); }
};

struct LrnPower {
  float scale;    // s^-beta
  float inverse;  // 1 / s
};

// Within 4 units of 2^-23 for beta = 3/4. Any other takes powf, which CUDA's programming guide puts within 4 units in
// the last place of the rounded result: 4.5 of 2^-23.
template <bool kThreeQuarters>
__device__ inline LrnPower lrn_power(float s, float beta) {
  if constexpr (kThreeQuarters) {
    // An infinite s would make zero times infinity of the product; a NaN stays one.
    const float root = ptx::rsqrt_normal(s > FLT_MAX ? FLT_MAX : s);
    return {root * (root * ptx::rsqrt_normal(root)), root * root};
  } else {
    return {powf(s, -beta), 1.0f / s};
  }
}

// value[i] = x[i - kHalo] for kVector channels and kHalo to either side, 0 where `left` or `right` is beyond the
// segment.
template <int kVector, int kHalo, typename T>
__device__ inline void load_span(const T* x, bool left, bool right, float (&value)[kVector + 2 * kHalo]) {
  const Pack<T, kVector> centre = load_vector<kVector>(x);
#pragma unroll
  for (int i = 0; i < kVector; ++i) value[kHalo + i] = to_float(centre.value[i]);
  if constexpr (kHalo > 0) {
    Pack<T, kHalo> before, after;
    if (left) before = load_vector<kHalo>(x - kHalo);
    if (right) after = load_vector<kHalo>(x + kVector);
#pragma unroll
    for (int i = 0; i < kHalo; ++i) {
      value[i] = left ? to_float(before.value[i]) : 0.0f;
      value[kHalo + kVector + i] = right ? to_float(after.value[i]) : 0.0f;
    }
  }
}

// sum of value[j]^2 for j in [first, last], in that order; zeros beyond the segment leave it as it is.
__device__ inline float sum_of_squares(const float* value, int first, int last) {
  float sum = 0.0f;
  for (int j = first; j <= last; ++j) sum = fmaf(value[j], value[j], sum);
  return sum;
}

// The normalised values of kVector channels from x on, which is channel `column` of its segment. kVector 1 takes any
// window, more take kLrnVectorSize.
template <int kVector, bool kThreeQuarters, typename T>
__device__ inline void lrn_normalise(const T* x, int column, const LrnShape& shape, float (&y)[kVector]) {
  if constexpr (kVector == 1) {
    const int last = min(shape.half, shape.length.divisor - 1 - column);
    float sum = 0.0f;
    for (int j = -min(shape.half, column); j <= last; ++j) sum = fmaf(to_float(x[j]), to_float(x[j]), sum);
    const float s = fmaf(shape.alpha, sum, shape.k);
    y[0] = to_float(x[0]) * lrn_power<kThreeQuarters>(s, shape.beta).scale;
  } else {
    constexpr int kHalf = kLrnVectorHalf;
    float value[kVector + 2 * kHalf];
    load_span<kVector, kHalf>(x, column > 0, column + kVector < shape.length.divisor, value);
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < kLrnVectorSize; ++j) sum = fmaf(value[i + j], value[i + j], sum);
      const float s = fmaf(shape.alpha, sum, shape.k);
      y[i] = value[kHalf + i] * lrn_power<kThreeQuarters>(s, shape.beta).scale;
    }
  }
}

// y = LRN(x), above.
//
// x, y: [images, pixels, channels] of T; y is overwritten and may not overlap x, whose neighbours other threads read.
// FP32 inside. kThreeQuarters: beta is 3/4, by two reciprocal square roots; else powf.
// Grid and block: lrn_fprop_config; no shared memory. kVector > 1 needs x and y on 16 bytes, segments that are a
// multiple of kVector, and windows of kLrnVectorSize; kVector 1 takes all.
// Floor: 2 * sizeof(T) bytes an element; 5 FMAs for the sum, 2 reciprocal roots and 4 FLOPs. The halo of 4 elements
// that a thread reads beside its own comes from L1. Deterministic; both kVectors give the same bits.
template <typename T, int kVector, bool kThreeQuarters>
__global__ void __launch_bounds__(256, 4) lrn_fprop_kernel(const T* x,  // [images, pixels, channels]
                                                           T* y,        // [images, pixels, channels], not x
                                                           LrnShape shape, RowGrid grid) {
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const int64_t element = (place.row * grid.packs + place.pack) * kVector;
  float result[kVector];
  lrn_normalise<kVector, kThreeQuarters>(x + element, shape.column(place.pack * kVector), shape, result);
  store_rounded(y + element, result);
}

// Where lrn_bprop_kernel takes the gradient of its output from: a tensor (here), or a pool (max_pool.cuh). span gives
// kVector channels from element `element` of image `image` on, and kHalo to either side.
template <typename T>
struct DirectGradient {
  const T* dy;  // [images, pixels, channels]
  int64_t image_elements;

  template <int kVector, int kHalo>
  __device__ void span(int64_t image, int element, bool left, bool right, float (&value)[kVector + 2 * kHalo]) const {
    load_span<kVector, kHalo>(dy + image * image_elements + element, left, right, value);
  }
};

// dx[c] = dy[c] s[c]^-beta - 2 alpha beta x[c] * sum of dy[j] x[j] s[j]^(-beta - 1) over the window of c; s is computed
// again from x, which costs less than keeping it. Where `relu`, 0 for an x that is not positive: the gradient through
// the ReLU that x came from.
//
// x, dx: [images, pixels, channels] of T; dy: from `gradient`, same shape. dx is overwritten and overlaps neither.
// FP32 inside. kThreeQuarters as in lrn_fprop_kernel.
// Grid and block: lrn_bprop_config; no shared memory. Needs all tensors on 16 bytes, segments that are a multiple of
// kVector, and windows of kLrnVectorSize.
// Floor with a DirectGradient: 3 * sizeof(T) bytes an element; about 30 FLOPs and 2 reciprocal roots, (kVector + 4) /
// kVector times, since a thread computes its neighbours' share of the sums again. Deterministic.
template <typename T, int kVector, bool kThreeQuarters, typename Gradient>
__global__ void __launch_bounds__(256, 2) lrn_bprop_kernel(Gradient gradient,
                                                           const T* x,  // [images, pixels, channels]
                                                           T* dx,       // [images, pixels, channels], neither x nor dy
                                                           LrnShape shape, bool relu, RowGrid grid) {
  constexpr int kHalf = kLrnVectorHalf;
  const RowPlace place = row_place(grid);
  if (!place.inside) return;
  const int element = place.pack * kVector;
  const int64_t offset = place.row * grid.packs * kVector + element;
  const int column = shape.column(element);
  const bool left = column > 0, right = column + kVector < shape.length.divisor;

  float value[kVector + 4 * kHalf];
  load_span<kVector, 2 * kHalf>(x + offset, left, right, value);
  float ratio[kVector + 2 * kHalf];
  gradient.template span<kVector, kHalf>(place.row, element, left, right, ratio);
  float scaled[kVector];
#pragma unroll
  for (int j = 0; j < kVector + 2 * kHalf; ++j) {
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kLrnVectorSize; ++i) sum = fmaf(value[j + i], value[j + i], sum);
    const LrnPower power = lrn_power<kThreeQuarters>(fmaf(shape.alpha, sum, shape.k), shape.beta);
    ratio[j] *= power.scale;
    if (j >= kHalf && j < kVector + kHalf) scaled[j - kHalf] = ratio[j];
    ratio[j] *= value[kHalf + j] * power.inverse;
  }
  const float factor = -2.0f * shape.alpha * shape.beta;
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < kLrnVectorSize; ++j) sum += ratio[i + j];
    const float centre = value[2 * kHalf + i];
    scaled[i] = relu && !(centre > 0.0f) ? 0.0f : fmaf(factor * centre, sum, scaled[i]);
  }
  store_rounded(dx + offset, scaled);
}

// lrn_bprop_kernel for any window and any number of channels, one channel a thread; `half` is at most kLrnMaxHalf.
//
// Grid: images * blocks of kLrnTile elements, kLrnTile threads; (3 * kLrnTile + 6 * half) floats of shared memory: x
// with 2 * half to either side, the terms of the sum with half to either side, and dy s^-beta. No alignment needed.
// Floor as lrn_bprop_kernel, with 2 * size reads of shared memory an element. Deterministic, and the same bits.
template <typename T, bool kThreeQuarters, typename Gradient>
__global__ void __launch_bounds__(kLrnTile, 2)
    lrn_bprop_any_kernel(Gradient gradient,
                         const T* x,  // [images, pixels, channels]
                         T* dx,       // [images, pixels, channels], neither x nor dy
                         LrnShape shape, bool relu, RowGrid grid) {
  ALEXNET_DYNAMIC_SHARED(float, shared);
  const int half = shape.half;
  float* const value = shared;                        // [kLrnTile + 4 * half]
  float* const ratio = value + kLrnTile + 4 * half;   // [kLrnTile + 2 * half]
  float* const scaled = ratio + kLrnTile + 2 * half;  // [kLrnTile]
  const RowPlace place = row_place(grid);
  const int64_t base = place.row * grid.packs;

  for (int i = static_cast<int>(threadIdx.x); i < kLrnTile + 4 * half; i += kLrnTile) {
    const int element = place.first - 2 * half + i;
    value[i] = element >= 0 && element < grid.packs ? to_float(x[base + element]) : 0.0f;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kLrnTile + 2 * half; i += kLrnTile) {
    const int element = place.first - half + i;
    float scaled_gradient[1] = {0.0f}, term = 0.0f;
    if (element >= 0 && element < grid.packs) {
      const int column = shape.column(element);
      const float* const centre = value + half + i;
      const float sum = sum_of_squares(centre, -min(half, column), min(half, shape.length.divisor - 1 - column));
      const LrnPower power = lrn_power<kThreeQuarters>(fmaf(shape.alpha, sum, shape.k), shape.beta);
      gradient.template span<1, 0>(place.row, element, false, false, scaled_gradient);
      scaled_gradient[0] *= power.scale;
      term = scaled_gradient[0] * (*centre * power.inverse);
    }
    ratio[i] = term;
    if (i >= half && i < kLrnTile + half) scaled[i - half] = scaled_gradient[0];
  }
  __syncthreads();
  if (!place.inside) return;
  const int column = shape.column(place.pack);
  const int last = min(half, shape.length.divisor - 1 - column);
  const float* const centre = ratio + half + threadIdx.x;
  float sum = 0.0f;
  for (int j = -min(half, column); j <= last; ++j) sum += centre[j];
  const float factor = -2.0f * shape.alpha * shape.beta;
  const float own = value[2 * half + threadIdx.x];
  const float result = relu && !(own > 0.0f) ? 0.0f : fmaf(factor * own, sum, scaled[threadIdx.x]);
  dx[base + place.pack] = from_float<T>(result);
}

}  // namespace alexnet
