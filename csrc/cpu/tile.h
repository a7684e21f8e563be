// A tile of a matrix product: the micro-kernel of so many rows, and what becomes of its sums on their way to memory.
#pragma once

#include <cmath>

#include "cpu/micro_kernel.h"
#include "gemm/activation.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

template <bool kDot>
inline void multiply(int rows, int segments, int products, OperandA a, OperandB b, float* c, bool add) {
  using Kernel = void (*)(int, int, OperandA, OperandB, float*, bool);
  static constexpr Kernel kKernels[] = {
      micro_kernel<1, kDot>,  micro_kernel<2, kDot>,  micro_kernel<3, kDot>,
      micro_kernel<4, kDot>,  micro_kernel<5, kDot>,  micro_kernel<6, kDot>,
#if ALEXNET_CPU_ROWS > 6
      micro_kernel<7, kDot>,  micro_kernel<8, kDot>,  micro_kernel<9, kDot>,
      micro_kernel<10, kDot>, micro_kernel<11, kDot>, micro_kernel<12, kDot>,
#endif
#if ALEXNET_CPU_ROWS > 12
      micro_kernel<13, kDot>, micro_kernel<14, kDot>,
#endif
  };
  kKernels[rows - 1](segments, products, a, b, c, add);
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
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
