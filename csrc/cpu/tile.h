// A tile of a matrix product: the micro-kernel of so many rows, and what becomes of its sums on their way to memory.
#pragma once

#include <cmath>
#include <utility>

#include "cpu/micro_kernel.h"
#include "gemm/activation.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

using Kernel = void (*)(int segments, int products, OperandA, OperandB, float* c, bool add);

template <int kV, bool kDot, int... kIndex>
inline Kernel choose(int rows, std::integer_sequence<int, kIndex...>) {
  static constexpr Kernel kKernels[] = {micro_kernel<kIndex + 1, kV, kDot>...};
  return kKernels[rows - 1];
}

// The kernel for up to kRows rows and up to kColumns columns.
template <bool kDot>
inline Kernel kernel(int rows, int columns) {
  constexpr auto kIndices = std::make_integer_sequence<int, kRows>();
  return columns <= kLanes ? choose<1, kDot>(rows, kIndices) : choose<kVectors, kDot>(rows, kIndices);
}

// `count` cut into pieces of at most `most`, all but equal: piece i begins at begin(i).
struct Pieces {
  int count, pieces;

  Pieces(int count_, int most) : count(count_), pieces((count_ + most - 1) / most) {}
  int begin(int i) const { return static_cast<int>(int64_t{count} * i / pieces); }
  int size(int i) const { return begin(i + 1) - begin(i); }
};

// Sums become y = activation(sum + addend + bias), times `scale` where `mask` is positive and 0 elsewhere. Null: none.
// addend and mask lie as y does.
struct Epilogue {
  float* y;
  const float* addend;
  const float* bias;
  const float* mask;
  float scale;
  Activation activation;
};

inline Vector finish(const Epilogue& e, Vector v, ptrdiff_t at, ptrdiff_t column) {
  if (e.addend) v += load(e.addend + at);
  if (e.bias) v += load(e.bias + column);
  if (e.activation == Activation::kRelu) v = select(~(v <= Vector{}), v);  // NaN stays
  if (e.mask) v = select(load(e.mask + at) > Vector{}, v * broadcast(e.scale));
  return v;
}

// Writes sums [rows, columns] of c [rows, pitch_c] to y from offset `at` on, `pitch` apart; `column` is the bias's.
inline void store_tile(const Epilogue& e, const float* c, ptrdiff_t pitch_c, int rows, int columns, ptrdiff_t at,
                       ptrdiff_t pitch, ptrdiff_t column) {
  for (int m = 0; m < rows; ++m, at += pitch, c += pitch_c) {
    int j = 0;
    for (; j + kLanes <= columns; j += kLanes) store(e.y + at + j, finish(e, load(c + j), at + j, column + j));
    for (; j < columns; ++j) {
      float v = c[j];
      if (e.addend) v += e.addend[at + j];
      if (e.bias) v += e.bias[column + j];
      if (e.activation == Activation::kRelu && v <= 0) v = 0;
      if (e.mask) v = e.mask[at + j] > 0 ? v * e.scale : 0;
      e.y[at + j] = v;
    }
    if (e.activation == Activation::kTanh) {
      for (j = 0; j < columns; ++j) e.y[at + j] = std::tanh(e.y[at + j]);
    } else if (e.activation == Activation::kLogistic) {
      for (j = 0; j < columns; ++j) e.y[at + j] = 1 / (1 + std::exp(-e.y[at + j]));
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
