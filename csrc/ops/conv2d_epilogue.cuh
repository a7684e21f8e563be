// What the convolution's directions make of their sums, in FP32 until the store. One class each, so that no kernel
// carries the registers and branches of another direction's.
#pragma once

#include <cstdint>

#include "gemm/activation.h"
#include "gemm/epilogue.cuh"
#include "ops/activation.h"
#include "ops/conv2d.h"
#include "ops/dropout.cuh"
#include "ops/sgd.cuh"

namespace alexnet {

// y = dropout(activation(sum + addend + bias[group, column])); null bias, addend or dropout step: without it.
template <typename T>
struct FpropEpilogue : OutputLayout {
  static constexpr int kWidth = 16 / sizeof(T);
  void* out;            // of float where out_float, else of T
  const float* bias;    // [groups * columns]
  const float* addend;  // laid out as out; may be out
  DropoutMask dropout;
  Activation activation;
  bool out_float;

  FpropEpilogue(const OutputLayout& layout, const Conv2dFpropParams& params)
      : OutputLayout(layout),
        out(params.y),
        bias(params.bias),
        addend(params.addend),
        dropout(params.dropout),
        activation(params.activation),
        out_float(params.y_float) {}

  template <int kCount>
  __device__ void store(Pack<float, kCount> sums, int group, int row, int column) const {
    const int64_t at = offset(group, row, column);
    const int64_t channel = static_cast<int64_t>(group) * columns + column;
    if (addend != nullptr) add_terms(sums, addend + at);
    if (bias != nullptr) add_terms(sums, bias + channel);
    if (activation != Activation::kNone) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        float& value = sums.value[i];
        value = activation == Activation::kTanh       ? Tanh::fprop(value)
                : activation == Activation::kLogistic ? Logistic::fprop(value)
                                                      : Relu::fprop(value);
      }
    }
    if (dropout.step != nullptr) dropout.apply(row, channel, sums);
    store_values<T>(out, out_float, at, sums);
  }
};

// dx = mask > 0 ? mask_scale * (sum + addend) : 0; null mask or addend: without it.
template <typename T>
struct DgradEpilogue : OutputLayout {
  static constexpr int kWidth = 16 / sizeof(T);
  void* out;            // of float where out_float, else of T
  const float* addend;  // laid out as out, like mask; may be out
  const T* mask;
  float mask_scale;
  bool out_float;

  DgradEpilogue(const OutputLayout& layout, const Conv2dDgradParams& params)
      : OutputLayout(layout),
        out(params.dx),
        addend(params.addend),
        mask(static_cast<const T*>(params.mask)),
        mask_scale(params.mask_scale),
        out_float(params.dx_float) {}

  template <int kCount>
  __device__ void store(Pack<float, kCount> sums, int group, int row, int column) const {
    const int64_t at = offset(group, row, column);
    if (addend != nullptr) add_terms(sums, addend + at);
    if (mask != nullptr) {
      const Pack<T, kCount> open = load_pack<kCount>(mask + at);
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums.value[i] = to_float(open.value[i]) > 0.0f ? mask_scale * sums.value[i] : 0.0f;
      }
    }
    store_values<T>(out, out_float, at, sums);
  }
};

// g = sum + addend; dweight = g; SgdStep with g. Null addend, dweight or weights of the step: without it.
template <typename T>
struct WgradEpilogue : OutputLayout {
  static constexpr int kWidth = 16 / sizeof(float);
  float* out;           // dweight
  const float* addend;  // laid out as out, like the step's tensors; may be out
  SgdStep<T> sgd;

  WgradEpilogue(const OutputLayout& layout, const Conv2dWgradParams& params)
      : OutputLayout(layout),
        out(params.dweight),
        addend(params.accumulate ? params.dweight : nullptr),
        sgd(params.sgd) {}

  template <int kCount>
  __device__ void store(Pack<float, kCount> sums, int group, int row, int column) const {
    store_at(sums, offset(group, row, column));
  }

  template <int kCount>
  __device__ void store_at(Pack<float, kCount> sums, int64_t at) const {
    if (addend != nullptr) add_terms(sums, addend + at);
    if (out != nullptr) store_pack(out + at, sums);
    if (sgd.weights != nullptr) sgd.update(at, sums);
  }
};

}  // namespace alexnet
