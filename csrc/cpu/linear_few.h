// FC fprop of few images: the weights are read where they lie, once, from memory, which is what such a product costs.
// Both operands are contiguous along the products, so here a vector runs along a sum: sixteen lanes in every
// instruction set, added up in one order at the end.
#pragma once

#include "cpu/linear.h"
#include "cpu/sgd.h"
#include "cpu/tile.h"
#include "cpu/work.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

constexpr int kDotLanes = 16, kDotVectors = kDotLanes / kLanes;

class LinearFew : public Work {
 public:
  static constexpr int kImages = 8;  // at most: of more, packing costs less (as much at 16)

  LinearFew(const LinearFpropParams& p) : p_(p), whole_(p.in / kDotLanes * kDotLanes) {
    constexpr int kStep = 8, kTiles = 16;  // of few columns narrow tiles, so that many threads have work
    const int narrow = (p.out + kTiles * kStep - 1) / (kTiles * kStep) * kStep;
    width_ = narrow < kStep ? kStep : narrow < kColumnsOfTile ? narrow : kColumnsOfTile;
    tiles_[0] = p.N > 0 ? (p.out + width_ - 1) / width_ : 0;
  }

 protected:
  void tile(int, int index, float*) override {
    const int first = index * width_, left = p_.out - first;
    const int columns = left < width_ ? left : width_, step = p_.N == 1 ? 8 : 4;
    float* c = scratch(static_cast<size_t>(p_.N) * (kColumnsOfTile + 8 * kDotLanes));
    int j = 0;
    float* sums = c + static_cast<ptrdiff_t>(p_.N) * kColumnsOfTile;
    for (; j + step <= columns; j += step) {
      p_.N == 1 ? some<8, 1>(first + j, c + j, sums) : some<4, kTileImages>(first + j, c + j, sums);
    }
    for (; j < columns; ++j) some<1, 1>(first + j, c + j, sums);
    const Epilogue e = {p_.y, p_.addend, p_.bias, nullptr, 1.f, p_.activation};
    store_tile(e, c, kColumnsOfTile, p_.N, columns, first, p_.y_pitch, first);
  }

 private:
  static constexpr int kColumnsOfTile = 64;
  static constexpr int kTileImages = kDotVectors == 1 ? 4 : 1;  // with four columns, as many sums as registers hold
  // Products that four lines of weights stay in the first cache for while the images go past.
  static constexpr int kBlock = 1024;

  template <int kC, int kN>
  void some(int first, float* c, float* sums) const;
  template <int kC, int kN>
  void dots(int first, int n, int k, int end, bool prefetch, float* sums) const;
  float total(float* lanes, const float* x, const float* weight) const;

  LinearFpropParams p_;
  int whole_;  // products that fill the lanes
  int width_;  // columns of a tile
};

// Adds products k to end of columns first to first + kC and images n to n + kN to sums [image, kC, kDotLanes]. With
// `prefetch` the weights' next block comes into the cache meanwhile.
template <int kC, int kN>
void LinearFew::dots(int first, int n, int k, int end, bool prefetch, float* sums) const {
  Vector sum[kN][kC][kDotVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kN; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kC; ++j) {
#pragma GCC unroll 4
      for (int v = 0; v < kDotVectors; ++v) sum[i][j][v] = load(sums + ((i * kC + j) * kDotVectors + v) * kLanes);
    }
  }
  const float* x = p_.x + n * p_.x_pitch;
  const float* weight = p_.weight + first * p_.weight_pitch;
  for (; k < end; k += kDotLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < kDotVectors; ++v) {
      Vector right[kN];
#pragma GCC unroll 4
      for (int i = 0; i < kN; ++i) right[i] = load(x + i * p_.x_pitch + k + v * kLanes);
#pragma GCC unroll 8
      for (int j = 0; j < kC; ++j) {
        const Vector left = load(weight + j * p_.weight_pitch + k + v * kLanes);
#pragma GCC unroll 4
        for (int i = 0; i < kN; ++i) sum[i][j][v] += left * right[i];
      }
    }
    if (prefetch) {
      for (int j = 0; j < kC; ++j) __builtin_prefetch(weight + j * p_.weight_pitch + k + kBlock);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kN; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kC; ++j) {
#pragma GCC unroll 4
      for (int v = 0; v < kDotVectors; ++v) store(sums + ((i * kC + j) * kDotVectors + v) * kLanes, sum[i][j][v]);
    }
  }
}

inline float LinearFew::total(float* lanes, const float* x, const float* weight) const {
  for (int half = kDotLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  float sum = lanes[0];
  for (int k = whole_; k < p_.in; ++k) sum = multiply_add(x[k], weight[k], sum);
  return sum;
}

// Columns first to first + kC of all images: c [N, kColumnsOfTile], by way of sums [N, kC, kDotLanes].
template <int kC, int kN>
void LinearFew::some(int first, float* c, float* sums) const {
  constexpr int kImage = kC * kDotLanes;
  std::memset(sums, 0, sizeof(float) * kImage * p_.N);
  for (int k = 0; k < whole_; k += kBlock) {
    const int end = k + kBlock < whole_ ? k + kBlock : whole_;
    const bool more = whole_ - end >= kBlock;
    int n = 0;
    for (; n + kN <= p_.N; n += kN) dots<kC, kN>(first, n, k, end, more && n == kN, sums + n * kImage);
    for (; n < p_.N; ++n) dots<kC, 1>(first, n, k, end, false, sums + n * kImage);
  }
  for (int n = 0; n < p_.N; ++n) {
    for (int j = 0; j < kC; ++j) {
      c[n * kColumnsOfTile + j] =
          total(sums + n * kImage + j * kDotLanes, p_.x + n * p_.x_pitch, p_.weight + (first + j) * p_.weight_pitch);
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
